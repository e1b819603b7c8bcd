"""The decision about a line: may it go to ConnectWise, which quantity is to be there, and is that to be written?

The order of calls: `find_addition`, then `company_quantity` or `shared_quantity`, and once the addition has been read
`decide`, or `decide_revert`.
"""

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from cwclient import Addition as ActualAddition
from messages import BillingPeriod, LineStatus, Problem
from store.confirmed_writes import ConfirmedWrite
from store.connections import ConnectionVersion, tenant_at
from store.mappings import Addition, Mapping
from store.pushes import Restore
from store.targets import Days
from worker.rules.billable import DATE_REASONS, Assessment
from worker.rules.problems import problem

# The reasons for holding a line that a confirmation lets through.
CONFIRMABLE = DATE_REASONS | {"older_period", "changed_elsewhere", "zero", "big_jump", "below_included"}

# A line waits so long for the mapping or connection version that its sender saw.
VERSION_WAIT = timedelta(seconds=60)


@dataclass(frozen=True)
class WantedLine:
    """A line that asks for a quantity: of a preview, or the newest one of an apply."""

    company_id: str
    company_name: str
    period: BillingPeriod
    billable_users: int
    requested_at: datetime
    push_id: str
    accepted_at: datetime
    mapping_changed_at: datetime | None = None
    connection_changed_at: datetime | None = None
    confirmation: Map[str, Any] | None = None
    cancelled: bool = False
    restore: Restore | None = None


@dataclass(frozen=True)
class PartnerSetup:
    """The partner's connection and mappings, as stored at the time of the decision.

    `tenants`: the ConnectWise that was connected from each time on; `mappings`: by company id.
    """

    connection: ConnectionVersion | None
    tenants: Sequence[tuple[datetime, str | None]]
    mappings: Map[str, Mapping]


@dataclass(frozen=True)
class JumpLimits:
    """A change above both is a big jump: a share of the quantity before, and a number of users."""

    jump_share: float
    jump_count: int


@dataclass(frozen=True)
class Proceed:
    """ConnectWise is to be asked for this addition."""

    addition: Addition


@dataclass(frozen=True)
class Wait:
    """A version that the sender saw has not arrived: the line waits for it, until then at most."""

    until: datetime


@dataclass(frozen=True)
class Answer:
    """The line's result, without asking ConnectWise any further; `reasons`: all that it is held for."""

    status: LineStatus
    problem: Problem
    reasons: tuple[Problem, ...] = ()


def find_addition(wanted: WantedLine, setup: PartnerSetup, now: datetime) -> Proceed | Wait | Answer:
    """Return the addition that a line is for, or the reason that it does not go to ConnectWise (yet)."""
    connection, mapping = setup.connection, setup.mappings.get(wanted.company_id)
    until = wanted.accepted_at + VERSION_WAIT
    sender_saw = wanted.connection_changed_at
    if sender_saw is not None and (connection is None or connection.changed_at < sender_saw):
        return Wait(until) if now < until else Answer("failed", problem("connection_not_received"))
    if connection is None or connection.tenant is None:
        return Answer("failed", problem("not_connected"))
    if wanted.restore is not None:
        same = wanted.restore.tenant == connection.tenant
        return Proceed(wanted.restore.addition) if same else Answer("failed", problem("other_connectwise"))
    sender_saw = wanted.mapping_changed_at
    if sender_saw is not None and (mapping is None or mapping.changed_at < sender_saw):
        return Wait(until) if now < until else Answer("failed", problem("mapping_not_received"))
    if mapping is None or mapping.cw_company_id is None:
        return Answer("skipped", problem("unmapped"))
    if mapping.addition is None:
        return Answer("skipped", problem("mapping_unfinished"))
    if tenant_at(setup.tenants, mapping.changed_at) != connection.tenant:
        return Answer("skipped", problem("map_again"))
    return Proceed(mapping.addition)


def company_quantity(mapping: Mapping, billable_users: int) -> int:
    """Return the quantity that one company adds to its addition: its users, but at least the mapping's minimum."""
    return max(billable_users, mapping.minimum or 0)


def shared_quantity(sharing: Sequence[Mapping], counts: Map[str, int]) -> int | Answer:
    """Return the quantity of an addition that several companies are mapped to; `counts`: users by company id."""
    if any(mapping.rule == "refuse" for mapping in sharing):
        names = [mapping.company_name for mapping in sharing]
        return Answer("failed", problem("shared_addition", addition=sharing[0].addition_id, companies=names))
    missing = [mapping.company_name for mapping in sharing if mapping.company_id not in counts]
    if missing:
        return Answer("held", problem("group_incomplete", missing=missing))
    return sum(company_quantity(mapping, counts[mapping.company_id]) for mapping in sharing)


@dataclass(frozen=True)
class WriteHistory:
    """The worker's writes to an addition: the newest period, every quantity, and the last one.

    `confirmed`: the last write, if anything was confirmed for it. `perhaps`: the later ones, with their periods, of
    which it is not certain that ConnectWise took them.
    """

    newest_period: Days | None = None
    quantities: frozenset[float] = frozenset()
    last: float | None = None
    confirmed: ConfirmedWrite | None = None
    perhaps: frozenset[tuple[float, Days]] = frozenset()

    def shown_by(self, quantity: float | None) -> "WriteHistory":
        """Count the writes as certain whose quantity was just read: a read can lag (connectwise-api.md 6.1)."""
        shown = {days for wanted, days in self.perhaps if wanted == quantity}
        known = shown if self.newest_period is None else shown | {self.newest_period}
        return replace(self, newest_period=max(known, default=None))


@dataclass(frozen=True)
class SetQuantity:
    """The quantity is to be written."""

    quantity: float


@dataclass(frozen=True)
class Unchanged:
    """ConnectWise already holds the quantity."""


def decide(
    actual: ActualAddition,
    *,
    assessment: Assessment,
    quantity: float,
    period: BillingPeriod,
    written: WriteHistory,
    confirmations: Sequence[Map[str, Any]],
    jump_limits: JumpLimits,
) -> SetQuantity | Unchanged | Answer:
    """Compare the wanted quantity with the actual one. An unusual change is held until it is confirmed.

    A line is also held for days of the period that are not billed. A quantity that is there already is held only if
    no day is billed, and not if the last write, for this period, was confirmed.
    """
    if assessment.refused is not None:
        return Answer("failed", assessment.refused)
    is_there = actual.quantity is not None and actual.quantity == quantity
    if is_there and not assessment.no_day_billed:
        return Unchanged()
    confirmed = _confirmed_reasons(confirmations, actual.quantity, quantity)
    last = written.confirmed
    if last is not None and is_there and (last.quantity_wanted, last.days) == (quantity, (period.start, period.end)):
        confirmed |= _confirmed_reasons(last.confirmations, last.quantity_before, last.quantity_wanted)
    reasons = assessment.unbilled_days
    if not is_there:
        reasons += tuple(_unusual(actual, quantity, period, written, jump_limits))
    reasons = tuple(reason for reason in reasons if reason.code not in confirmed)
    if reasons:
        return Answer("held", reasons[0], reasons)
    return Unchanged() if is_there else SetQuantity(quantity)


def _confirmed_reasons(confirmations: Sequence[Map[str, Any]], before: float | None, wanted: float) -> set[str]:
    """Return the reasons that are confirmed for this change."""
    return {
        reason
        for confirmation in confirmations
        for reason in confirmation["reasons"]
        if float(confirmation["quantity_before"]) == (before or 0.0)
        and confirmation.get("quantity_wanted") in {None, wanted}
    }


def _unusual(
    actual: ActualAddition, quantity: float, period: BillingPeriod, written: WriteHistory, jump_limits: JumpLimits
) -> Iterator[Problem]:
    """Yield the reasons that make this change unusual."""
    before, included = actual.quantity or 0.0, actual.less_included or 0.0
    change = abs(quantity - before)
    if written.newest_period is not None and (period.start, period.end) < written.newest_period:
        newest = BillingPeriod(start=written.newest_period[0], end=written.newest_period[1])
        yield problem("older_period", newest=newest.key)
    if written.last is not None and actual.quantity not in written.quantities:
        yield problem("changed_elsewhere", actual=actual.quantity, ours=written.last)
    if quantity == 0 and before > 0:
        yield problem("zero", before=before)
    elif change > jump_limits.jump_count and change > jump_limits.jump_share * before:
        yield problem("big_jump", before=actual.quantity, wanted=quantity)
    if 0 < quantity <= included < before:
        yield problem("below_included", included=included)


def warnings(next_invoice: str, period: BillingPeriod) -> Iterator[Problem]:
    """Yield a preview's warnings. `next_invoice`: the agreement's nextInvoiceDate, of which no format is documented."""
    try:
        day = date.fromisoformat(next_invoice[:10])
    except ValueError:
        return
    # Billed in arrears, the invoice of a period is dated the day after it; a later one is of the next period.
    if day > period.end + timedelta(days=1):
        yield problem("maybe_invoiced", next_invoice=day.isoformat())


def decide_revert(
    actual: ActualAddition, *, assessment: Assessment, holds: Collection[float], restore: float
) -> SetQuantity | Unchanged | Answer:
    """Compare the quantity that a revert puts back with the actual one: it is written over one of `holds` only.

    `holds`: the quantities that the push has left. Days that are not billed do not matter, as the push was confirmed
    for them. Newer periods do not either: an addition that a newer push wants as it is does not get here.
    """
    if actual.quantity == restore:
        return Unchanged()
    if actual.quantity not in holds:
        return Answer("failed", problem("changed_since", former=restore, ours=sorted(holds), actual=actual.quantity))
    if assessment.refused is not None:
        return Answer("failed", assessment.refused)
    return SetQuantity(restore)

"""What to do with a wish, decided from what is wanted and what is there. Pure: no network, database or clock."""

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from messages import BillingPeriod, LineStatus, Problem
from store.connections import ConnectionVersion, tenant_at
from store.mappings import Addition, Mapping
from store.pushes import Restore
from store.wishes import Days
from worker.problems import problem

CONFIRMABLE = frozenset({"older_period", "changed_elsewhere", "zero", "big_jump", "below_included"})
"""The reasons for holding a line that a confirmation lets through."""

VERSION_WAIT = timedelta(seconds=60)
"""How long a line waits for the mapping or connection version that its sender saw."""


@dataclass(frozen=True)
class Wanted:
    """One line that asks for a quantity: of an apply (then it is the newest wish) or of a preview."""

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
class Settings:
    """What a partner has set up, as stored when a decision is made."""

    connection: ConnectionVersion | None
    tenants: Sequence[tuple[datetime, str | None]]
    mappings: Map[str, Mapping]


@dataclass(frozen=True)
class Unusual:
    """Above both of these a change is a big jump: a share of the quantity before, and a number of users."""

    jump_share: float
    jump_count: int


@dataclass(frozen=True)
class Go:
    """Ask ConnectWise for this addition."""

    addition: Addition


@dataclass(frozen=True)
class Wait:
    """A version that the sender saw has not arrived; look again when it does, or at `until`."""

    until: datetime


@dataclass(frozen=True)
class Answer:
    """The line is answered: `status` with its problem; `reasons` are all that it is held for."""

    status: LineStatus
    problem: Problem
    reasons: tuple[Problem, ...] = ()


def ready(wanted: Wanted, settings: Settings, now: datetime) -> Go | Wait | Answer:
    """May this line go to ConnectWise, and to which addition?"""
    connection, mapping = settings.connection, settings.mappings.get(wanted.company_id)
    until = wanted.accepted_at + VERSION_WAIT
    seen = wanted.connection_changed_at
    if seen is not None and (connection is None or connection.changed_at < seen):
        return Wait(until) if now < until else Answer("failed", problem("connection_not_received"))
    if connection is None or connection.tenant is None:
        return Answer("failed", problem("not_connected"))
    if wanted.restore is not None:
        same = wanted.restore.tenant == connection.tenant
        return Go(wanted.restore.addition) if same else Answer("failed", problem("other_connectwise"))
    seen = wanted.mapping_changed_at
    if seen is not None and (mapping is None or mapping.changed_at < seen):
        return Wait(until) if now < until else Answer("failed", problem("mapping_not_received"))
    if mapping is None or mapping.cw_company_id is None:
        return Answer("skipped", problem("unmapped"))
    if mapping.addition is None:
        return Answer("skipped", problem("mapping_unfinished"))
    if tenant_at(settings.tenants, mapping.changed_at) != connection.tenant:
        return Answer("skipped", problem("map_again"))
    return Go(mapping.addition)


def counted(mapping: Mapping, billable_users: int) -> int:
    """The quantity that one company adds to its addition: its users, but at least the mapping's minimum."""
    return max(billable_users, mapping.minimum or 0)


def shared(sharing: Sequence[Mapping], counts: Map[str, int]) -> int | Answer:
    """The quantity of an addition that several companies are mapped to; `counts` = users by company id."""
    if any(mapping.rule == "refuse" for mapping in sharing):
        names = [mapping.company_name for mapping in sharing]
        return Answer("failed", problem("shared_addition", addition=sharing[0].addition_id, companies=names))
    missing = [mapping.company_name for mapping in sharing if mapping.company_id not in counts]
    if missing:
        return Answer("held", problem("group_incomplete", missing=missing))
    return sum(counted(mapping, counts[mapping.company_id]) for mapping in sharing)


class Actual(Protocol):
    """The addition as ConnectWise gave it (cwclient.Addition)."""

    @property
    def agreement_id(self) -> int | None: ...  # noqa: D102
    @property
    def quantity(self) -> float | None: ...  # noqa: D102
    @property
    def less_included(self) -> float | None: ...  # noqa: D102
    @property
    def bill_customer(self) -> str | None: ...  # noqa: D102
    @property
    def effective_date(self) -> datetime | None: ...  # noqa: D102
    @property
    def cancelled_date(self) -> datetime | None: ...  # noqa: D102
    @property
    def agreement_status(self) -> str | None: ...  # noqa: D102
    @property
    def addition_status(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Written:
    """What this worker has written to an addition: the newest period, every quantity, and the last one."""

    newest_period: Days | None = None
    quantities: frozenset[float] = frozenset()
    last: float | None = None


@dataclass(frozen=True)
class Write:
    """Set the quantity."""

    quantity: float


@dataclass(frozen=True)
class Unchanged:
    """ConnectWise already holds the quantity."""


def decide(
    actual: Actual,
    *,
    agreement_id: int,
    quantity: float,
    period: BillingPeriod,
    written: Written,
    confirmations: Sequence[Map[str, Any]],
    unusual: Unusual,
    now: datetime,
) -> Write | Unchanged | Answer:
    """Compare what is wanted with what is there. What is unusual is held until it is confirmed for this quantity."""
    why = not_live(actual, agreement_id=agreement_id, now=now)
    if why is not None:
        return Answer("failed", why)
    if actual.quantity is not None and actual.quantity == quantity:
        return Unchanged()
    confirmed = {
        reason
        for confirmation in confirmations
        for reason in confirmation["reasons"]
        if float(confirmation["quantity_before"]) == (actual.quantity or 0.0)
        and confirmation.get("quantity_wanted") in {None, quantity}
    }
    reasons = [
        reason for reason in _unusual(actual, quantity, period, written, unusual) if reason.code not in confirmed
    ]
    return Answer("held", reasons[0], tuple(reasons)) if reasons else Write(quantity)


def _unusual(
    actual: Actual, quantity: float, period: BillingPeriod, written: Written, unusual: Unusual
) -> Iterator[Problem]:
    before, included = actual.quantity or 0.0, actual.less_included or 0.0
    change = abs(quantity - before)
    if written.newest_period is not None and (period.start, period.end) < written.newest_period:
        newest = BillingPeriod(start=written.newest_period[0], end=written.newest_period[1])
        yield problem("older_period", newest=newest.key)
    if written.last is not None and actual.quantity not in written.quantities:
        yield problem("changed_elsewhere", actual=actual.quantity, ours=written.last)
    if quantity == 0 and before > 0:
        yield problem("zero", before=before)
    elif change > unusual.jump_count and change > unusual.jump_share * before:
        yield problem("big_jump", before=actual.quantity, wanted=quantity)
    if 0 < quantity <= included < before:
        yield problem("below_included", included=included)


def warnings(next_invoice: str, period: BillingPeriod) -> Iterator[Problem]:
    """What a preview warns of. `next_invoice`: the agreement's nextInvoiceDate, of which no format is documented."""
    try:
        day = date.fromisoformat(next_invoice[:10])
    except ValueError:
        return
    # Billed in arrears, the invoice of a period is dated the day after it; a later one is of the next period.
    if day > period.end + timedelta(days=1):
        yield problem("maybe_invoiced", next_invoice=day.isoformat())


def decide_revert(
    actual: Actual, *, holds: Collection[float], restore: float, agreement_id: int, now: datetime
) -> Write | Unchanged | Answer:
    """Compare what a revert puts back with what is there: only what still `holds` a value of the push is written.

    Periods do not matter: an addition that a newer push wants as it is was sorted out before.
    """
    if actual.quantity == restore:
        return Unchanged()
    if actual.quantity not in holds:
        return Answer("failed", problem("changed_since", former=restore, ours=sorted(holds), actual=actual.quantity))
    why = not_live(actual, agreement_id=agreement_id, now=now)
    return Write(restore) if why is None else Answer("failed", why)


def not_live(actual: Actual, *, agreement_id: int, now: datetime) -> Problem | None:
    """Why this addition must not be billed through, or None. The dates are the authority (connectwise-api.md 5.2)."""
    if actual.agreement_id is not None and actual.agreement_id != agreement_id:
        return problem("addition_elsewhere")
    if actual.cancelled_date is not None and actual.cancelled_date <= now:
        return problem("addition_cancelled", since=actual.cancelled_date)
    if actual.addition_status == "Cancelled" and actual.cancelled_date is None:
        return problem("addition_cancelled", since=None)
    if actual.agreement_status not in {None, "Active"}:
        return agreement_problem(str(actual.agreement_status))
    if actual.effective_date is not None and actual.effective_date > now:
        return problem("addition_not_begun", effective=actual.effective_date)
    if actual.addition_status in {"Expired", "Inactive"}:
        return problem("addition_not_active", status=actual.addition_status)
    if actual.bill_customer not in {None, "Billable"}:
        return problem("not_billable")
    return None


def agreement_problem(status: str) -> Problem:
    """The agreement is not Active, but Cancelled, Expired, Inactive, or what a newer ConnectWise may say."""
    return problem(_AGREEMENT_PROBLEMS.get(status, "agreement_not_active"), status=status)


_AGREEMENT_PROBLEMS = {
    "Cancelled": "agreement_cancelled",
    "Expired": "agreement_expired",
    "Inactive": "agreement_inactive",
}

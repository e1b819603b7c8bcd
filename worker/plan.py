"""What to do with a wish, decided from what is wanted and what is there. Pure: no network, database or clock."""

from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from messages import BillingPeriod, LineStatus, Problem
from store.connections import ConnectionVersion, tenant_at
from store.mappings import Addition, Mapping
from store.pushes import Restore
from store.wishes import Days
from worker import problems

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
class Go:
    """Ask ConnectWise for this addition."""

    addition: Addition


@dataclass(frozen=True)
class Wait:
    """A version that the sender saw has not arrived; look again when it does, or at `until`."""

    until: datetime


@dataclass(frozen=True)
class Answer:
    """The line is answered: `status` with its problem."""

    status: LineStatus
    problem: Problem


def ready(wanted: Wanted, settings: Settings, now: datetime) -> Go | Wait | Answer:
    """May this line go to ConnectWise, and to which addition?"""
    connection, mapping = settings.connection, settings.mappings.get(wanted.company_id)
    until = wanted.accepted_at + VERSION_WAIT
    seen = wanted.connection_changed_at
    if seen is not None and (connection is None or connection.changed_at < seen):
        return Wait(until) if now < until else Answer("failed", problems.CONNECTION_NOT_RECEIVED)
    if connection is None or connection.tenant is None:
        return Answer("failed", problems.NOT_CONNECTED)
    if wanted.restore is not None:
        same = wanted.restore.tenant == connection.tenant
        return Go(wanted.restore.addition) if same else Answer("failed", problems.OTHER_CONNECTWISE)
    seen = wanted.mapping_changed_at
    if seen is not None and (mapping is None or mapping.changed_at < seen):
        return Wait(until) if now < until else Answer("failed", problems.MAPPING_NOT_RECEIVED)
    if mapping is None or mapping.cw_company_id is None:
        return Answer("skipped", problems.UNMAPPED)
    if mapping.addition is None:
        return Answer("skipped", problems.MAPPING_UNFINISHED)
    if tenant_at(settings.tenants, mapping.changed_at) != connection.tenant:
        return Answer("skipped", problems.MAP_AGAIN)
    return Go(mapping.addition)


def counted(mapping: Mapping, billable_users: int) -> int:
    """The quantity that one company adds to its addition: its users, but at least the mapping's minimum."""
    return max(billable_users, mapping.minimum or 0)


def shared(sharing: Sequence[Mapping], counts: Map[str, int]) -> int | Answer:
    """The quantity of an addition that several companies are mapped to; `counts` = users by company id."""
    if any(mapping.rule == "refuse" for mapping in sharing):
        return Answer("failed", problems.shared_addition([mapping.company_name for mapping in sharing]))
    missing = [mapping.company_name for mapping in sharing if mapping.company_id not in counts]
    if missing:
        return Answer("held", problems.group_incomplete(missing))
    return sum(counted(mapping, counts[mapping.company_id]) for mapping in sharing)


class Actual(Protocol):
    """The addition as ConnectWise gave it (cwclient.Addition)."""

    @property
    def agreement_id(self) -> int | None: ...  # noqa: D102
    @property
    def quantity(self) -> float | None: ...  # noqa: D102
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
    newest_period: Days | None,
    confirmation: Map[str, Any] | None,
    now: datetime,
) -> Write | Unchanged | Answer:
    """Compare what is wanted with what is there. `newest_period`: the newest that this addition holds."""
    problem = not_live(actual, agreement_id=agreement_id, now=now)
    if problem is not None:
        return Answer("failed", problem)
    if actual.quantity is not None and actual.quantity == quantity:
        return Unchanged()
    held = []
    if newest_period is not None and (period.start, period.end) < newest_period:
        newest = BillingPeriod(start=newest_period[0], end=newest_period[1])
        held.append(problems.older_period(newest.key))
    unconfirmed = [problem for problem in held if not _confirmed(problem.code, actual.quantity, confirmation)]
    return Answer("held", unconfirmed[0]) if unconfirmed else Write(quantity)


def decide_revert(
    actual: Actual, *, holds: float, restore: float, agreement_id: int, now: datetime
) -> Write | Unchanged | Answer:
    """Compare what a revert puts back with what is there: only what still `holds` the push's value is written.

    Periods do not matter: whatever a newer one has written is another value.
    """
    if actual.quantity == restore:
        return Unchanged()
    if actual.quantity != holds:
        return Answer("failed", problems.changed_since(restore, holds, actual.quantity))
    problem = not_live(actual, agreement_id=agreement_id, now=now)
    return Write(restore) if problem is None else Answer("failed", problem)


def not_live(actual: Actual, *, agreement_id: int, now: datetime) -> Problem | None:
    """Why this addition must not be billed through, or None. The dates are the authority (connectwise-api.md 5.2)."""
    if actual.agreement_id is not None and actual.agreement_id != agreement_id:
        return problems.ADDITION_ELSEWHERE
    if actual.cancelled_date is not None and actual.cancelled_date <= now:
        return problems.addition_cancelled(actual.cancelled_date)
    if actual.addition_status == "Cancelled" and actual.cancelled_date is None:
        return problems.addition_cancelled(None)
    if actual.agreement_status not in {None, "Active"}:
        return problems.agreement_not_active(str(actual.agreement_status))
    if actual.effective_date is not None and actual.effective_date > now:
        return problems.addition_not_begun(actual.effective_date)
    if actual.addition_status in {"Expired", "Inactive"}:
        return problems.addition_not_active(str(actual.addition_status))
    if actual.bill_customer not in {None, "Billable"}:
        return problems.NOT_BILLABLE
    return None


def _confirmed(code: str, quantity: float | None, confirmation: Map[str, Any] | None) -> bool:
    return (
        confirmation is not None
        and code in confirmation["reasons"]
        and quantity is not None
        and float(confirmation["quantity_before"]) == quantity
    )

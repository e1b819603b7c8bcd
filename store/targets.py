"""Targets: the newest billable users requested for each (partner, company, period), and whether they are settled.

The table is `syncs`.
"""

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Row, bindparam, select, tuple_, update

from messages import BillingPeriod
from store.any_of import any_of, any_pair
from store.bulk import insert_many, update_many
from store.database import Tx
from store.mappings import Addition
from store.schema import syncs

Days = tuple[date, date]
"""First and last day of a billing period; periods are ordered by them."""

KEY = ("partner_id", "company_id", "period_key")
"""The columns that identify a target."""

TargetKey = tuple[str, str]
"""(company id, period key)"""


@dataclass(frozen=True)
class Target:
    """The newest request. `due_at` None = settled: ConnectWise was made to match, or the line ended otherwise."""

    company_id: str
    period_key: str
    period_start: date
    period_end: date
    billable_users: int
    requested_at: datetime
    push_id: str
    accepted_at: datetime
    attempts: int
    first_failed_at: datetime | None
    reported_at: datetime | None
    due_at: datetime | None

    @property
    def key(self) -> TargetKey:
        """The target's key within its partner."""
        return (self.company_id, self.period_key)

    @property
    def version(self) -> tuple[datetime, str]:
        """The order of requests for one target: the newest wins, ties by push id."""
        return (self.requested_at, self.push_id)


class Request(Protocol):
    """A request that sets targets: a push, as it was sent or is stored."""

    @property
    def partner_id(self) -> str: ...  # noqa: D102
    @property
    def push_id(self) -> str: ...  # noqa: D102
    @property
    def period(self) -> BillingPeriod: ...  # noqa: D102
    @property
    def requested_at(self) -> datetime: ...  # noqa: D102


def request(tx: Tx, push: Request, users: Map[str, int], at: datetime) -> list[tuple[str, str]]:
    """Set the targets of these companies to their users, unless newer ones are stored.

    Returns (push id, company id) of the superseded lines: those of this push that are older than the stored target, and
    those of older pushes whose target is replaced before it was settled.
    """
    columns = (syncs.c.company_id, syncs.c.requested_at, syncs.c.push_id, syncs.c.due_at)
    partner_id, period, period_key = push.partner_id, push.period, push.period.key
    of_period = (syncs.c.partner_id == partner_id, syncs.c.period_key == period_key)
    stored = {row.company_id: row for row in tx.execute(select(*columns).where(*of_period))}
    version = (push.requested_at, push.push_id)
    superseded: list[tuple[str, str]] = []
    new: list[dict[str, object]] = []
    newer: list[dict[str, object]] = []
    for company_id, count in users.items():
        known = stored.get(company_id)
        key = {"partner_id": partner_id, "company_id": company_id, "period_key": period_key}
        values = {
            "billable_users": count,
            "requested_at": push.requested_at,
            "push_id": push.push_id,
            "accepted_at": at,
            "due_at": at,
        }
        if known is None:
            new.append({**key, "period_start": period.start, "period_end": period.end, **values})
        elif (known.requested_at, known.push_id) < version:
            newer.append({**key, **values, "attempts": 0, "first_failed_at": None, "reported_at": None})
            if known.due_at is not None:
                superseded.append((known.push_id, known.company_id))
        else:
            superseded.append((push.push_id, company_id))
    insert_many(tx, syncs, new)
    update_many(tx, syncs, KEY, newer)
    return superseded


def request_again(tx: Tx, push: Request, company_ids: Sequence[str], at: datetime) -> set[str]:
    """Make the targets of these companies that are still this push's due again as if new. Returns their companies."""
    mine: set[str] = set()
    for start in range(0, len(company_ids), 1000):
        statement = (
            update(syncs)
            .where(
                syncs.c.partner_id == push.partner_id,
                syncs.c.company_id.in_(company_ids[start : start + 1000]),
                syncs.c.period_key == push.period.key,
                syncs.c.push_id == push.push_id,
                syncs.c.requested_at == push.requested_at,
            )
            .values(
                accepted_at=at,
                attempts=0,
                first_failed_at=None,
                reported_at=None,
                due_at=at,
                settled_requested_at=None,
                settled_push_id=None,
                settled_tenant=None,
                settled_agreement_id=None,
                settled_addition_id=None,
            )
            .returning(syncs.c.company_id)
        )
        mine.update(tx.execute(statement).scalars())
    return mine


# All columns that a Target has: the more a statement names, the more the reading of each answer costs.
_TARGETS = select(*(syncs.c[field.name] for field in fields(Target))).where(syncs.c.partner_id == bindparam("partner"))
_DUE = (
    _TARGETS.where(syncs.c.due_at <= bindparam("at"))
    .order_by(syncs.c.requested_at.desc(), syncs.c.period_start.desc(), syncs.c.company_id)
    .limit(bindparam("limit"))
)
_OF_COMPANIES = _TARGETS.where(any_of(syncs.c.company_id, "companies"))
_HOLDER = (syncs.c.settled_agreement_id, syncs.c.settled_addition_id)
_HELD_PERIODS = (
    select(*_HOLDER, syncs.c.period_start, syncs.c.period_end)
    .where(
        syncs.c.partner_id == bindparam("partner"),
        syncs.c.settled_tenant == bindparam("tenant"),
        any_pair(_HOLDER, "additions"),
    )
    .distinct()
)


def unsettled(tx: Tx, partner_id: str, limit: int | None = None, *, after: TargetKey | None = None) -> list[Target]:
    """Targets of a partner that are not settled, due or not, by key; `after`: those whose key is a larger one."""
    key = (syncs.c.company_id, syncs.c.period_key)
    query = select(syncs).where(syncs.c.partner_id == partner_id, syncs.c.due_at.is_not(None))
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [_target(row) for row in tx.execute(query.order_by(*key).limit(limit))]


def due(tx: Tx, partner_id: str, at: datetime, limit: int) -> list[Target]:
    """Due targets: newest push first, newest period first."""
    return [_target(row) for row in tx.execute(_DUE, {"partner": partner_id, "at": at, "limit": limit})]


def of_companies(tx: Tx, partner_id: str, company_ids: Collection[str]) -> dict[TargetKey, Target]:
    """All targets of these companies, settled ones too, by key."""
    if not company_ids:
        return {}
    which = {"partner": partner_id, "companies": list(company_ids)}
    return {target.key: target for target in map(_target, tx.execute(_OF_COMPANIES, which))}


@dataclass(frozen=True)
class Holder:
    """The addition that holds the quantity of a settled target."""

    tenant: str
    addition: Addition


def settle(tx: Tx, partner_id: str, settled: Sequence[tuple[Target, Holder | None]]) -> None:
    """Settle these targets, each with the addition that holds its quantity now, if one does.

    Call it with targets whose versions were read in the same transaction.
    """
    _update(
        tx,
        partner_id,
        [
            {
                "settled_requested_at": target.requested_at,
                "settled_push_id": target.push_id,
                "settled_tenant": holder and holder.tenant,
                "settled_agreement_id": holder and holder.addition[0],
                "settled_addition_id": holder and holder.addition[1],
                "due_at": None,
            }
            for target, holder in settled
        ],
        [target for target, _ in settled],
    )


class HeldPeriod(NamedTuple):
    """A period whose quantity was written to an addition."""

    addition: Addition
    days: Days


class HeldQuantity(NamedTuple):
    """The addition that holds a company's quantity, and the key of its period."""

    addition: Addition
    period_key: str


def held_periods(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> list[HeldPeriod]:
    """All periods whose quantities these additions were made to hold, each once."""
    if not additions:
        return []
    which = {"partner": partner_id, "tenant": tenant, "additions": additions}
    return [HeldPeriod((row[0], row[1]), (row[2], row[3])) for row in tx.execute(_HELD_PERIODS, which)]


def last_held(tx: Tx, partner_id: str, tenant: str, company_ids: Collection[str]) -> dict[str, HeldQuantity]:
    """Return the additions in which the newest settled quantity of each of these companies is held, by company id."""
    if not company_ids:
        return {}
    query = (
        select(syncs.c.company_id, syncs.c.settled_agreement_id, syncs.c.settled_addition_id, syncs.c.period_key)
        .where(
            syncs.c.partner_id == partner_id,
            syncs.c.settled_tenant == tenant,
            syncs.c.settled_addition_id.is_not(None),
            syncs.c.company_id.in_(company_ids),
        )
        .order_by(syncs.c.period_start, syncs.c.period_end)
    )
    return {row[0]: HeldQuantity((row[1], row[2]), row[3]) for row in tx.execute(query)}


def postpone(tx: Tx, partner_id: str, postponed: Sequence[Target]) -> None:
    """Store the attempts, first failure, last report and due time of these targets."""
    _update(
        tx,
        partner_id,
        [
            {
                "attempts": target.attempts,
                "first_failed_at": target.first_failed_at,
                "reported_at": target.reported_at,
                "due_at": target.due_at,
            }
            for target in postponed
        ],
        postponed,
    )


def make_due(tx: Tx, partner_id: str, at: datetime, company_ids: Collection[str] | None = None) -> None:
    """Make open targets due: the mappings of these companies, or the connection (None = all), have arrived."""
    which = [syncs.c.partner_id == partner_id, syncs.c.due_at > at]
    if company_ids is not None:
        which.append(syncs.c.company_id.in_(company_ids))
    tx.execute(update(syncs).where(*which).values(due_at=at))


def _update(tx: Tx, partner_id: str, values: list[dict[str, object]], each: Sequence[Target]) -> None:
    keys = [{"partner_id": partner_id, "company_id": one.company_id, "period_key": one.period_key} for one in each]
    update_many(tx, syncs, KEY, [key | value for key, value in zip(keys, values, strict=True)])


def _target(row: Row[tuple[object, ...]]) -> Target:
    return Target(
        company_id=row.company_id,
        period_key=row.period_key,
        period_start=row.period_start,
        period_end=row.period_end,
        billable_users=row.billable_users,
        requested_at=row.requested_at,
        push_id=row.push_id,
        accepted_at=row.accepted_at,
        attempts=row.attempts,
        first_failed_at=row.first_failed_at,
        reported_at=row.reported_at,
        due_at=row.due_at,
    )

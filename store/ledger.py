"""The ledger: one row per write to ConnectWise, opened before the PATCH and closed after it.

It is append-only, except that the row of a PATCH that was never sent is deleted, as there was no write.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, func, insert, or_, select, tuple_, update

from store.any_of import any_of
from store.database import Tx, db_now
from store.mappings import Addition
from store.schema import ledger
from store.targets import Days

Outcome = Literal["written", "not_kept", "refused", "not_sent", "not_applied", "unknown"]


@dataclass(frozen=True)
class LedgerEntry:
    """A write that is about to be made."""

    addition: Addition
    push_id: str
    period_key: str
    period_start: date
    period_end: date
    company_ids: tuple[str, ...]
    quantity_before: float | None
    quantity_wanted: float


@dataclass(frozen=True)
class OpenEntry(LedgerEntry):
    """A write whose outcome is not known (yet); until `call_until` it may still reach ConnectWise.

    `http_status` and `shown` are set if the answer showed another quantity than was sent.
    """

    id: int
    call_until: datetime
    http_status: int | None = None
    shown: float | None = None


@dataclass(frozen=True)
class Closing:
    """The outcome of a write; `quantity_after` and `http_status` as ConnectWise answered, if it did."""

    id: int
    outcome: Outcome
    quantity_after: float | None
    http_status: int | None


@dataclass(frozen=True)
class MismatchedWrite:
    """ConnectWise accepted a write, but its answer shows another quantity; the addition is read again at `read_at`."""

    id: int
    quantity: float | None
    http_status: int | None
    read_at: datetime


def open_entries(
    tx: Tx, partner_id: str, tenant: str, entries: Sequence[LedgerEntry], call_seconds: Sequence[float]
) -> dict[Addition, OpenEntry]:
    """Open a row for each write, in the transaction that has checked the lease's token. Returns them by addition.

    Each write is certainly over its `call_seconds` after this.
    """
    if not entries:
        return {}
    rows = [
        {
            "partner_id": partner_id,
            "tenant": tenant,
            "agreement_id": entry.addition[0],
            "addition_id": entry.addition[1],
            "push_id": entry.push_id,
            "period_key": entry.period_key,
            "period_start": entry.period_start,
            "period_end": entry.period_end,
            "companies_json": json.dumps(entry.company_ids),
            "quantity_before": entry.quantity_before,
            "quantity_wanted": entry.quantity_wanted,
            "call_seconds": seconds,
        }
        for entry, seconds in zip(entries, call_seconds, strict=True)
    ]
    return {entry.addition: entry for entry in map(_entry, tx.execute(_OPEN, rows))}


_OPEN = (
    insert(ledger)
    .values(opened_at=db_now(), call_until=db_now(bindparam("call_seconds")))
    .returning(ledger, sort_by_parameter_order=True)
)
_CLOSE = (
    update(ledger)
    .where(ledger.c.id == bindparam("b_id"), ledger.c.closed_at.is_(None))
    .values(
        outcome=bindparam("b_outcome"),
        quantity_after=bindparam("b_after"),
        http_status=bindparam("b_status"),
        closed_at=db_now(),
    )
)


def close(tx: Tx, closings: Collection[Closing]) -> None:
    """Close the rows of these writes with their outcomes. A row that is closed already stays as it is."""
    unsent = [end.id for end in closings if end.outcome == "not_sent"]
    if unsent:
        tx.execute(delete(ledger).where(ledger.c.id.in_(unsent), ledger.c.closed_at.is_(None)))
    rows = [
        {"b_id": end.id, "b_outcome": end.outcome, "b_after": end.quantity_after, "b_status": end.http_status}
        for end in closings
        if end.outcome != "not_sent"
    ]
    if rows:
        tx.execute(_CLOSE, rows)


def leave_open(tx: Tx, mismatched: Collection[MismatchedWrite]) -> None:
    """Note the quantities that the answers showed; the additions are not written until they are read again."""
    for write in mismatched:
        values = {"quantity_after": write.quantity, "http_status": write.http_status, "call_until": write.read_at}
        tx.execute(update(ledger).where(ledger.c.id == write.id, ledger.c.closed_at.is_(None)).values(values))


def still_open(tx: Tx, partner_id: str, tenant: str) -> dict[Addition, OpenEntry]:
    """Writes of this tenant whose outcome is not known, by addition."""
    rows = tx.execute(_STILL_OPEN, {"partner": partner_id, "tenant": tenant})
    return {entry.addition: entry for entry in map(_entry, rows)}


_STILL_OPEN = select(ledger).where(
    ledger.c.partner_id == bindparam("partner"), ledger.c.tenant == bindparam("tenant"), ledger.c.closed_at.is_(None)
)


def companies_under_way(tx: Tx, partner_id: str) -> dict[str, datetime]:
    """The companies with a write whose outcome is not known (yet), and the time until which it may reach ConnectWise.

    Past that time the write may have been applied; a read tells, once ConnectWise can be called.
    """
    which = (ledger.c.partner_id == partner_id, ledger.c.closed_at.is_(None))
    query = select(ledger.c.companies_json, ledger.c.call_until).where(*which).order_by(ledger.c.call_until)
    return {company: until for text, until in tx.execute(query) for company in json.loads(text)}


@dataclass(frozen=True)
class WrittenQuantity:
    """A quantity that was written to an addition for a period, or may have been (not `is_certain`).

    `after`: the quantity in ConnectWise's answer to the write; what was read later may be somebody else's.
    """

    addition: Addition
    days: Days
    wanted: float
    after: float | None
    is_certain: bool


def written_quantities(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> list[WrittenQuantity]:
    """Return each (period, quantity) that was ever written to these additions once, the last written at the end."""
    if not additions:
        return []
    which = {"partner": partner_id, "tenant": tenant, "additions": list(additions)}
    return [
        WrittenQuantity((row[0], row[1]), (row[2], row[3]), row[4], row[5], is_certain=bool(row[6]))
        for row in tx.execute(_WRITTEN_QUANTITIES, which)
    ]


_ADDITION = (ledger.c.agreement_id, ledger.c.addition_id)
_OF_ADDITIONS = (
    ledger.c.partner_id == bindparam("partner"),
    ledger.c.tenant == bindparam("tenant"),
    tuple_(*_ADDITION).in_(bindparam("additions", expanding=True)),
)
_WRITTEN = (
    ledger.c.period_start,
    ledger.c.period_end,
    ledger.c.quantity_wanted,
    case((ledger.c.outcome.in_(("written", "not_kept")), ledger.c.quantity_after)),
)
_WRITTEN_QUANTITIES = (
    select(*_ADDITION, *_WRITTEN, func.max(case((ledger.c.outcome == "written", 1), else_=0)))
    .where(*_OF_ADDITIONS, or_(ledger.c.outcome.is_(None), ledger.c.outcome != "refused"))
    .group_by(*_ADDITION, *_WRITTEN)
    .order_by(func.max(ledger.c.id))
)


class WriteAnswer(NamedTuple):
    """ConnectWise's answer to a write: accepted, or refused for the caller's rights (401, 403)."""

    addition: Addition
    is_taken: bool


def write_answers(tx: Tx, partner_id: str, tenant: str, since: datetime) -> list[WriteAnswer]:
    """The answers to writes begun since then, in their order: all refusals, and each addition's last acceptance."""
    which = (ledger.c.agreement_id, ledger.c.addition_id)
    begun = (ledger.c.partner_id == partner_id, ledger.c.tenant == tenant, ledger.c.opened_at >= since)
    is_refused = (ledger.c.outcome == "refused", ledger.c.http_status.in_((401, 403)))
    taken = select(*which, func.max(ledger.c.closed_at)).where(*begun, ledger.c.outcome.in_(("written", "not_kept")))
    refused = select(*which, ledger.c.closed_at).where(*begun, *is_refused)
    answers = [(row[2], True, (row[0], row[1])) for row in tx.execute(taken.group_by(*which))]
    answers += [(row[2], False, (row[0], row[1])) for row in tx.execute(refused)]
    return [WriteAnswer(addition, is_taken) for _, is_taken, addition in sorted(answers)]


@dataclass(frozen=True)
class PushWrite:
    """A write that ConnectWise accepted, or may have accepted, with the quantities before it and wanted."""

    tenant: str
    addition: Addition
    company_ids: tuple[str, ...]
    quantity_before: float | None
    quantity_wanted: float


def writes_of_push(tx: Tx, partner_id: str, push_id: str) -> list[PushWrite]:
    """The writes of a push, oldest first, also those that may have been applied, as reads can lag."""
    query = select(ledger).where(ledger.c.partner_id == partner_id, ledger.c.push_id == push_id, _may_be_written())
    return [
        PushWrite(
            tenant=row.tenant,
            addition=(row.agreement_id, row.addition_id),
            company_ids=tuple(json.loads(row.companies_json)),
            quantity_before=row.quantity_before,
            quantity_wanted=row.quantity_wanted,
        )
        for row in tx.execute(query.order_by(ledger.c.id))
    ]


def quantities_left_by(tx: Tx, partner_id: str, push_id: str, tenant: str, addition: Addition) -> set[float]:
    """The quantities that an addition may hold after a push: its last certain write, and less certain ones since.

    ConnectWise may turn a write into another number: the one that it showed then counts as the push's, too.
    """
    query = (
        select(ledger.c.quantity_wanted, ledger.c.quantity_after, ledger.c.outcome)
        .where(
            ledger.c.partner_id == partner_id,
            ledger.c.tenant == tenant,
            ledger.c.agreement_id == addition[0],
            ledger.c.addition_id == addition[1],
            ledger.c.push_id == push_id,
            _may_be_written(),
        )
        .order_by(ledger.c.id)
    )
    left: set[float] = set()
    for wanted, after, outcome in tx.execute(query):
        left = set() if outcome == "written" else left
        left |= {wanted, wanted if after is None else after}
    return left


def _may_be_written() -> ColumnElement[bool]:
    """A condition for writes that were applied, or may have been."""
    return or_(ledger.c.outcome.is_(None), ledger.c.outcome.in_(("written", "not_kept", "unknown")))


def _entry(row: Row[tuple[object, ...]]) -> OpenEntry:
    return OpenEntry(
        id=row.id,
        addition=(row.agreement_id, row.addition_id),
        push_id=row.push_id,
        period_key=row.period_key,
        period_start=row.period_start,
        period_end=row.period_end,
        company_ids=tuple(json.loads(row.companies_json)),
        quantity_before=row.quantity_before,
        quantity_wanted=row.quantity_wanted,
        call_until=row.call_until,
        http_status=row.http_status,
        shown=row.quantity_after,
    )


def last_written_rows(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> Sequence[Row[Any]]:
    """The ledger's row of the last write that ConnectWise accepted, for each of these additions that has one."""
    if not additions:
        return []
    agreements, ids = ({addition[place] for addition in additions} for place in (0, 1))
    which = {"partner": partner_id, "tenant": tenant, "agreements": agreements, "ids": ids}
    wanted = set(additions)
    return [row for row in tx.execute(_LAST_WRITTEN, which) if (row.agreement_id, row.addition_id) in wanted]


# Lists of pairs, of which thousands are asked for, would be a text of their own each time.
_LAST_WRITTEN = select(ledger).where(
    ledger.c.id.in_(
        select(func.max(ledger.c.id))
        .where(
            ledger.c.partner_id == bindparam("partner"),
            ledger.c.tenant == bindparam("tenant"),
            any_of(ledger.c.agreement_id, "agreements"),
            any_of(ledger.c.addition_id, "ids"),
            ledger.c.outcome == "written",
        )
        .group_by(*_ADDITION)
    )
)

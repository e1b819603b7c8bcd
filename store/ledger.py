"""The ledger: one row per write to ConnectWise, opened before the PATCH and closed after it.

Append-only, but for a row whose PATCH was not sent: it is taken back, as there was no write.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, func, insert, or_, select, tuple_, update

from store.database import Tx, db_now
from store.mappings import Addition
from store.schema import ledger
from store.targets import Days

Outcome = Literal["written", "not_kept", "refused", "not_sent", "not_applied", "unknown"]


@dataclass(frozen=True)
class LedgerEntry:
    """A write that is about to be made. `call_seconds`: when it is certainly over, counted from the opening."""

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
    """A write whose end is not known (yet); until `call_until` it may still reach ConnectWise.

    `http_status`: of its answer, if there was one that showed another quantity than was sent: `shown`.
    """

    id: int
    call_until: datetime
    http_status: int | None = None
    shown: float | None = None


@dataclass(frozen=True)
class Closing:
    """The end of a write; `quantity_after` and `http_status` as ConnectWise answered, if it did.

    `not_sent`: it was none.
    """

    id: int
    outcome: Outcome
    quantity_after: float | None
    http_status: int | None


@dataclass(frozen=True)
class MismatchedWrite:
    """ConnectWise took a write, but the answer shows another quantity; whether it stays so is read at `read_at`."""

    id: int
    quantity: float | None
    http_status: int | None
    read_at: datetime


def open_entries(
    tx: Tx, partner_id: str, tenant: str, entries: Sequence[LedgerEntry], call_seconds: float
) -> dict[Addition, OpenEntry]:
    """Open a row for each write, in the transaction that has checked the lease's token; by addition."""
    if not entries:
        return {}
    statement = (
        insert(ledger)
        .values(opened_at=db_now(), call_until=db_now(call_seconds))
        .returning(ledger, sort_by_parameter_order=True)
    )
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
        }
        for entry in entries
    ]
    return {entry.addition: entry for entry in map(_entry, tx.execute(statement, rows))}


def close(tx: Tx, closings: Collection[Closing]) -> None:
    """Say how these writes ended. A row that is closed already stays as it is."""
    unsent = [end.id for end in closings if end.outcome == "not_sent"]
    if unsent:
        tx.execute(delete(ledger).where(ledger.c.id.in_(unsent), ledger.c.closed_at.is_(None)))
    rows = [
        {"b_id": end.id, "b_outcome": end.outcome, "b_after": end.quantity_after, "b_status": end.http_status}
        for end in closings
        if end.outcome != "not_sent"
    ]
    if not rows:
        return
    statement = (
        update(ledger)
        .where(ledger.c.id == bindparam("b_id"), ledger.c.closed_at.is_(None))
        .values(
            outcome=bindparam("b_outcome"),
            quantity_after=bindparam("b_after"),
            http_status=bindparam("b_status"),
            closed_at=db_now(),
        )
    )
    tx.execute(statement, rows)


def leave_open(tx: Tx, shown: Collection[MismatchedWrite]) -> None:
    """Keep what the answers to these writes showed; nobody touches their additions until they are read again."""
    for one in shown:
        values = {"quantity_after": one.quantity, "http_status": one.http_status, "call_until": one.read_at}
        tx.execute(update(ledger).where(ledger.c.id == one.id, ledger.c.closed_at.is_(None)).values(values))


def still_open(tx: Tx, partner_id: str, tenant: str) -> dict[Addition, OpenEntry]:
    """Writes of this tenant whose end is not known, by addition."""
    query = select(ledger).where(
        ledger.c.partner_id == partner_id, ledger.c.tenant == tenant, ledger.c.closed_at.is_(None)
    )
    return {entry.addition: entry for entry in map(_entry, tx.execute(query))}


def companies_under_way(tx: Tx, partner_id: str) -> dict[str, datetime]:
    """The companies whose quantity is being written, or may have been, and until when: its end is not known (yet).

    Past that time the write is over, and may have been applied: it is read when ConnectWise can be asked.
    """
    which = (ledger.c.partner_id == partner_id, ledger.c.closed_at.is_(None))
    query = select(ledger.c.companies_json, ledger.c.call_until).where(*which).order_by(ledger.c.call_until)
    return {company: until for text, until in tx.execute(query) for company in json.loads(text)}


@dataclass(frozen=True)
class WrittenQuantity:
    """A quantity that was written to an addition for a period, or may have been.

    `after`: what ConnectWise answered to the write; not what was found there later, which may be somebody else's.
    """

    addition: Addition
    days: Days
    wanted: float
    after: float | None
    is_certain: bool


def written_quantities(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> list[WrittenQuantity]:
    """Return all that was ever written to these additions: a (period, quantity) once, the last written at the end."""
    if not additions:
        return []
    which = (ledger.c.agreement_id, ledger.c.addition_id)
    answered = case((ledger.c.outcome.in_(("written", "not_kept")), ledger.c.quantity_after))
    what = (ledger.c.period_start, ledger.c.period_end, ledger.c.quantity_wanted, answered)
    query = (
        select(*which, *what, func.max(case((ledger.c.outcome == "written", 1), else_=0)))
        .where(
            ledger.c.partner_id == partner_id,
            ledger.c.tenant == tenant,
            tuple_(*which).in_(additions),
            or_(ledger.c.outcome.is_(None), ledger.c.outcome != "refused"),
        )
        .group_by(*which, *what)
        .order_by(func.max(ledger.c.id))
    )
    return [
        WrittenQuantity((row[0], row[1]), (row[2], row[3]), row[4], row[5], is_certain=bool(row[6]))
        for row in tx.execute(query)
    ]


def write_answers(tx: Tx, partner_id: str, tenant: str, since: datetime) -> list[tuple[Addition, bool]]:
    """Return (addition, was it taken?) in the order of ConnectWise's answers to the writes begun since then.

    Of those that it took each addition's last one, and each one that it refused as such (401, 403).
    """
    which = (ledger.c.agreement_id, ledger.c.addition_id)
    begun = (ledger.c.partner_id == partner_id, ledger.c.tenant == tenant, ledger.c.opened_at >= since)
    is_refused = (ledger.c.outcome == "refused", ledger.c.http_status.in_((401, 403)))
    taken = select(*which, func.max(ledger.c.closed_at)).where(*begun, ledger.c.outcome.in_(("written", "not_kept")))
    refused = select(*which, ledger.c.closed_at).where(*begun, *is_refused)
    found = [(row[2], True, (row[0], row[1])) for row in tx.execute(taken.group_by(*which))]
    found += [(row[2], False, (row[0], row[1])) for row in tx.execute(refused)]
    return [(addition, is_taken) for _, is_taken, addition in sorted(found)]


@dataclass(frozen=True)
class PushWrite:
    """A write that ConnectWise took, or may have taken: what the addition held before, and what it was to hold."""

    tenant: str
    addition: Addition
    company_ids: tuple[str, ...]
    quantity_before: float | None
    quantity_wanted: float


def writes_of_push(tx: Tx, partner_id: str, push_id: str) -> list[PushWrite]:
    """Return a push's writes, oldest first.

    Those that it may have made are among them, since a read can lag (connectwise-api.md 6.1).
    """
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
    """The quantities that an addition may hold after a push: what it wrote last, and what came of less certain writes.

    ConnectWise may have made another number of a write: what it showed then is the push's work too.
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
    """Select the rows of writes that were applied, or of which nobody knows it for sure."""
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
    """Return the ledger's row of the last write that ConnectWise took, of each of these additions that has one."""
    if not additions:
        return []
    which = (ledger.c.agreement_id, ledger.c.addition_id)
    newest = (
        select(func.max(ledger.c.id))
        .where(
            ledger.c.partner_id == partner_id,
            ledger.c.tenant == tenant,
            tuple_(*which).in_(additions),
            ledger.c.outcome == "written",
        )
        .group_by(*which)
    )
    return tx.execute(select(ledger).where(ledger.c.id.in_(newest))).all()

"""The ledger: one row per write to ConnectWise, opened before the PATCH and closed after it.

It is append-only, except that the row of a PATCH that was never sent is deleted, as there was no write.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Float,
    Integer,
    Row,
    String,
    Update,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from store.bulk import given, in_pieces
from store.database import Tx, db_now
from store.mappings import Addition
from store.schema import ledger

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
    if tx.dialect.name == "postgresql":
        opened = [row for piece in in_pieces(rows) for row in tx.execute(_OPEN_GIVEN, {"rows": piece})]
    else:
        opened = list(tx.execute(_OPEN_EACH, rows))
    return {entry.addition: entry for entry in map(_entry, opened)}


_TIMES = ("opened_at", "call_until")
_OPENED = [
    *("partner_id", "tenant", "agreement_id", "addition_id", "push_id", "period_key", "period_start", "period_end"),
    *("companies_json", "quantity_before", "quantity_wanted"),
]
_OPEN_EACH = (
    insert(ledger)
    .values(opened_at=db_now(), call_until=db_now(bindparam("call_seconds")))
    .returning(ledger, sort_by_parameter_order=True)
)
_GIVEN = given({name: ledger.c[name].type for name in _OPENED} | {"call_seconds": Float()})
_OPEN_GIVEN = (
    insert(ledger)
    .from_select(
        [*_OPENED, *_TIMES],
        select(*(_GIVEN.c[name] for name in _OPENED), db_now(), db_now(_GIVEN.c.call_seconds)),
    )
    .returning(ledger)
)
_ENDS = given({"b_id": BigInteger(), "b_outcome": String(), "b_after": Float(), "b_status": Integer()})


def _close(columns: Any) -> Update:  # noqa: ANN401 - of one closing
    """Close the row of a write that is open."""
    return (
        update(ledger)
        .where(ledger.c.id == columns("b_id"), ledger.c.closed_at.is_(None))
        .values(
            outcome=columns("b_outcome"),
            quantity_after=columns("b_after"),
            http_status=columns("b_status"),
            closed_at=db_now(),
        )
    )


_CLOSE_EACH = _close(bindparam)
_CLOSE_GIVEN = _close(_ENDS.c.__getitem__)


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
    if tx.dialect.name == "postgresql":
        for piece in in_pieces(rows):
            tx.execute(_CLOSE_GIVEN, {"rows": piece})
    elif rows:
        tx.execute(_CLOSE_EACH, rows)


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

"""Looking into the ledger: who has written what, when, for which period, over what."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select

from store.database import Database, Tx, moment
from store.retention import NO_NAME
from store.schema import ledger, mappings, pushes

ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class LedgerFilter:
    """A filter of a partner's writes: None = any. `since` limits the time of opening: a time, or so long ago."""

    partner_id: str
    push_id: str | None = None
    company_id: str | None = None
    period_key: str | None = None
    since: datetime | timedelta | None = None


@dataclass(frozen=True)
class LedgerWrite:
    """One write; `outcome` None = under way, or not known.

    `kind` is the mode of its push; `kind` and `requested_by` are None once the push, or the name in it, was removed.
    """

    id: int
    opened_at: datetime
    closed_at: datetime | None
    requested_by: str | None
    push_id: str
    kind: str | None
    period_key: str
    company_ids: tuple[str, ...]
    tenant: str
    agreement_id: int
    addition_id: int
    quantity_before: float | None
    quantity_wanted: float
    quantity_after: float | None
    outcome: str | None
    http_status: int | None


def newest(tx: Tx, which: LedgerFilter, limit: int) -> list[LedgerWrite]:
    """At most `limit` writes that match, the newest first."""
    writes: list[LedgerWrite] = []
    before: int | None = None
    while len(writes) < limit:
        query = _query(which) if before is None else _query(which).where(ledger.c.id < before)
        rows = tx.execute(query.order_by(ledger.c.id.desc()).limit(ROWS_AT_ONCE)).all()
        writes += _of_company(which, map(_write, rows))
        if len(rows) < ROWS_AT_ONCE:
            break
        before = rows[-1].id
    return writes[:limit]


def oldest_first(database: Database, which: LedgerFilter) -> Iterator[LedgerWrite]:
    """All writes that match, ROWS_AT_ONCE in memory at a time, with no transaction open between."""
    after = 0
    while True:
        with database.begin() as tx:
            query = _query(which).where(ledger.c.id > after).order_by(ledger.c.id).limit(ROWS_AT_ONCE)
            rows = tx.execute(query).all()
        yield from _of_company(which, map(_write, rows))
        if len(rows) < ROWS_AT_ONCE:
            return
        after = rows[-1].id


def company_names(tx: Tx, partner_id: str) -> dict[str, str]:
    """The names of a partner's companies by id, from its mappings: whatever was written was mapped."""
    query = select(mappings.c.company_id, mappings.c.company_name).where(mappings.c.partner_id == partner_id)
    return dict(tx.execute(query).all())


def _query(which: LedgerFilter) -> Select[Any]:
    of_push = (pushes.c.partner_id == ledger.c.partner_id) & (pushes.c.push_id == ledger.c.push_id)
    query = (
        select(ledger, pushes.c.requested_by, pushes.c.mode)
        .select_from(ledger.outerjoin(pushes, of_push))
        .where(ledger.c.partner_id == which.partner_id)
    )
    if which.push_id is not None:
        query = query.where(ledger.c.push_id == which.push_id)
    if which.period_key is not None:
        query = query.where(ledger.c.period_key == which.period_key)
    if which.since is not None:
        query = query.where(ledger.c.opened_at >= moment(which.since))
    if which.company_id is not None:
        query = query.where(ledger.c.companies_json.contains(json.dumps(which.company_id), autoescape=True))
    return query


def _of_company(which: LedgerFilter, writes: Iterator[LedgerWrite]) -> Iterator[LedgerWrite]:
    """The writes of exactly this company: the query on SQLite ignores case."""
    return (write for write in writes if which.company_id is None or which.company_id in write.company_ids)


def _write(row: Any) -> LedgerWrite:  # noqa: ANN401 - a row of `_query`
    return LedgerWrite(
        id=row.id,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        requested_by=None if row.requested_by == NO_NAME else row.requested_by,
        push_id=row.push_id,
        kind=row.mode,
        period_key=row.period_key,
        company_ids=tuple(json.loads(row.companies_json)),
        tenant=row.tenant,
        agreement_id=row.agreement_id,
        addition_id=row.addition_id,
        quantity_before=row.quantity_before,
        quantity_wanted=row.quantity_wanted,
        quantity_after=row.quantity_after,
        outcome=row.outcome,
        http_status=row.http_status,
    )

"""Sync Status: the newest result of each company, kept by the transaction that records the result."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import and_, or_, select, tuple_, update

from messages import SyncResult
from store.bulk import Upsert, upsert_many
from store.database import Tx, db_now
from store.recorded_results import RecordedResult, read_result
from store.schema import company_status


def keep_newest(tx: Tx, results: Sequence[RecordedResult]) -> None:
    """Store each result unless a newer one of its company is stored, by (period, requested_at, push id, sequence).

    A dismissed row is replaced by any result that was requested after it, also one of an earlier period.
    """
    newest: dict[tuple[str, str], RecordedResult] = {}
    for each in sorted(results, key=_order):
        newest[each.result.partner_id, each.result.company_id] = each
    # Always in the same order, so that two workers cannot deadlock.
    upsert_many(tx, company_status, [_row(newest[key]) for key in sorted(newest)], _unless_newer)


def _unless_newer(statement: Upsert, names: Sequence[str]) -> Upsert:
    new, order = statement.excluded, ("period_start", "requested_at", "push_id", "sequence")
    is_newer = tuple_(*(company_status.c[name] for name in order)) < tuple_(*(new[name] for name in order))
    is_since = and_(company_status.c.dismissed_at.is_not(None), company_status.c.requested_at < new.requested_at)
    return statement.on_conflict_do_update(
        index_elements=["partner_id", "company_id"],
        set_={name: new[name] for name in names if name not in {"partner_id", "company_id"}} | {"dismissed_at": None},
        where=or_(is_newer, is_since),
    )


def _order(each: RecordedResult) -> tuple[date, datetime, str, int]:
    result = each.result
    return (result.period.start, result.requested_at, result.push_id, result.sequence)


def _row(recorded: RecordedResult) -> dict[str, object]:
    result = recorded.result
    return {
        "partner_id": result.partner_id,
        "company_id": result.company_id,
        "period_start": result.period.start,
        "period_key": result.period.key,
        "requested_at": result.requested_at,
        "sequence": result.sequence,
        "push_id": result.push_id,
        "status": str(result.status),
        "result_json": recorded.text,
    }


def of_partner(tx: Tx, partner_id: str) -> list[SyncResult]:
    """The newest result of each company of a partner, by company id, without dismissed ones."""
    shown = (company_status.c.partner_id == partner_id, company_status.c.dismissed_at.is_(None))
    query = select(company_status.c.result_json).where(*shown)
    return [read_result(text) for text in tx.execute(query.order_by(company_status.c.company_id)).scalars()]


def dismiss(tx: Tx, partner_id: str, company_id: str) -> bool:
    """Hide the row of this company until its next result; False = no row of it is shown."""
    row = (company_status.c.partner_id == partner_id, company_status.c.company_id == company_id)
    statement = update(company_status).where(*row, company_status.c.dismissed_at.is_(None))
    return tx.execute(statement.values(dismissed_at=db_now())).rowcount == 1

"""Companies that are mapped, but of which a push, or a period, says nothing: they go on being billed."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select

from store import connections
from store.database import Tx
from store.ledger import last_written
from store.mappings import Addition
from store.pushes import chunks
from store.schema import company_status, mappings, push_lines, syncs

AT_ONCE = 500


@dataclass(frozen=True)
class Absent:
    """A company that is mapped and absent. `quantity`: still billed for it as far as is known, None = not known."""

    company_id: str
    company_name: str
    quantity: float | None


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[Absent]:
    """The companies that have no line in this push, by company id."""
    mine = (push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
    return _absent(tx, partner_id, ~exists().where(*mine, push_lines.c.company_id == mappings.c.company_id))


def of_newest_period(tx: Tx, partner_id: str) -> tuple[str, list[Absent]] | None:
    """The newest period that was pushed, and the companies that no push of it had; None = nothing was pushed."""
    newest = select(syncs.c.period_key).where(syncs.c.partner_id == partner_id)
    key = tx.execute(newest.order_by(syncs.c.period_start.desc(), syncs.c.period_end.desc()).limit(1)).scalar()
    if key is None:
        return None
    mine = (syncs.c.partner_id == partner_id, syncs.c.period_key == key)
    return key, _absent(tx, partner_id, ~exists().where(*mine, syncs.c.company_id == mappings.c.company_id))


def _absent(tx: Tx, partner_id: str, is_absent: ColumnElement[bool]) -> list[Absent]:
    """Those of the companies mapped to an addition of the ConnectWise that was connected last.

    What is billed for a company is the newest that is known of its addition without asking ConnectWise: what its last
    result told, or its last check, or the last write. Of an addition that several companies share it is the users that
    the company was pushed with last: the addition holds those of the others too.
    """
    history = connections.tenants(tx, partner_id)
    tenant = next((tenant for _, tenant in reversed(history) if tenant), None)
    mapped = (mappings.c.partner_id == partner_id, mappings.c.addition_id.is_not(None))
    found = [
        row
        for row in tx.execute(select(mappings).where(*mapped, is_absent).order_by(mappings.c.company_id))
        if connections.tenant_at(history, row.changed_at) == tenant
    ]
    addition = (mappings.c.agreement_id, mappings.c.addition_id)
    several = select(*addition).where(*mapped).group_by(*addition).having(func.count() > 1)
    shared = {(row[0], row[1]) for row in tx.execute(several)}
    alone = [row for row in found if (row.agreement_id, row.addition_id) not in shared]
    quantities = _last_pushed(tx, partner_id, [row for row in found if (row.agreement_id, row.addition_id) in shared])
    for some in chunks(alone, AT_ONCE):
        quantities |= _last_told(tx, partner_id, tenant or "", some)
    return [Absent(row.company_id, row.company_name, quantities.get(row.company_id)) for row in found]


def _last_pushed(tx: Tx, partner_id: str, found: Sequence[Any]) -> dict[str, float]:
    """The users of the newest settled push of these companies, at least their minimum."""
    minimum = {row.company_id: row.minimum or 0 for row in found}
    users: dict[str, float] = {}
    for some in chunks(sorted(minimum), AT_ONCE):
        query = (
            select(syncs.c.company_id, syncs.c.billable_users)
            .where(
                syncs.c.partner_id == partner_id,
                syncs.c.company_id.in_(some),
                syncs.c.settled_addition_id.is_not(None),
                syncs.c.due_at.is_(None),
            )
            .order_by(syncs.c.period_start, syncs.c.period_end)
        )
        users |= {company_id: max(count, minimum[company_id]) for company_id, count in tx.execute(query)}
    return users


def _last_told(tx: Tx, partner_id: str, tenant: str, found: Sequence[Any]) -> dict[str, float]:
    """Return the newest quantity that a result, check or write told of each company's addition; no other shares it."""
    told: dict[str, tuple[datetime, float]] = {}

    def tell(company_id: str, at: datetime, quantity: float | None) -> None:
        if quantity is not None and (company_id not in told or told[company_id][0] < at):
            told[company_id] = (at, quantity)

    since = {row.company_id: row.changed_at for row in found}
    for row in found:
        check = json.loads(row.check_json) if row.check_json else {}
        if check.get("quantity") is not None:
            tell(row.company_id, datetime.fromisoformat(check["time"]), check["quantity"])
    answered = select(company_status.c.company_id, company_status.c.result_json).where(
        company_status.c.partner_id == partner_id, company_status.c.company_id.in_(since)
    )
    for company_id, text in tx.execute(answered):
        result = json.loads(text)
        after = result["quantity_after"]
        at = datetime.fromisoformat(result["time"])
        if at >= since[company_id]:
            tell(company_id, at, result["quantity_before"] if after is None else after)
    companies = {(row.agreement_id, row.addition_id): row.company_id for row in found}
    for addition, at, quantity in _last_written(tx, partner_id, tenant, companies):
        tell(companies[addition], at, quantity)
    return {company_id: quantity for company_id, (_, quantity) in told.items()}


def _last_written(
    tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]
) -> list[tuple[Addition, datetime, float]]:
    """Return each of these additions that was written, with the time of its last write and what it held then."""
    rows = last_written(tx, partner_id, tenant, additions)
    return [((row.agreement_id, row.addition_id), row.closed_at, row.quantity_after) for row in rows]

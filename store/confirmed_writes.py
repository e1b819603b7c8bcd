"""The last write to an addition, with its confirmations: they stay valid until the next write."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from store.database import Tx
from store.mappings import Addition
from store.past_writes import last_written_rows
from store.schema import push_lines
from store.targets import Days


@dataclass(frozen=True)
class ConfirmedWrite:
    """A write that ConnectWise accepted, and its confirmations, as JSON of messages.Confirmation."""

    days: Days
    quantity_before: float | None
    quantity_wanted: float
    confirmations: list[dict[str, Any]]


def last_of(tx: Tx, partner_id: str, tenant: str, additions: Collection[Addition]) -> dict[Addition, ConfirmedWrite]:
    """Return the last write to each of these additions that had a confirmation."""
    rows = last_written_rows(tx, partner_id, tenant, additions)
    confirmed = _confirmations(tx, partner_id, {row.push_id for row in rows})
    writes = {}
    for row in rows:
        keys = [(row.push_id, company_id) for company_id in json.loads(row.companies_json)]
        if confirmations := [confirmed[key] for key in keys if key in confirmed]:
            days = (row.period_start, row.period_end)
            write = ConfirmedWrite(days, row.quantity_before, row.quantity_wanted, confirmations)
            writes[row.agreement_id, row.addition_id] = write
    return writes


def _confirmations(tx: Tx, partner_id: str, push_ids: Collection[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The confirmations in these pushes, by push and company."""
    if not push_ids:
        return {}
    query = select(push_lines.c.push_id, push_lines.c.company_id, push_lines.c.confirmation_json).where(
        push_lines.c.partner_id == partner_id,
        push_lines.c.push_id.in_(push_ids),
        push_lines.c.confirmation_json.is_not(None),
    )
    return {(row.push_id, row.company_id): json.loads(row.confirmation_json) for row in tx.execute(query)}

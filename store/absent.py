"""Companies that are mapped, but of which a push, or a period, says nothing: they go on being billed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select

from store import connections
from store.database import Tx
from store.ledger import last_written_rows
from store.pushes import chunks
from store.schema import company_status, mappings, push_lines, syncs

AT_ONCE = 500

NOT_BILLED = frozenset(
    {
        "addition_cancelled",
        "addition_not_active",
        "agreement_cancelled",
        "agreement_expired",
        "agreement_inactive",
        "agreement_not_active",
        "not_billable",
    }
)
"""The problems with which ConnectWise bills nothing; not those of days to come, on which it will."""


@dataclass(frozen=True)
class AbsentCompany:
    """A company that is mapped and absent. `quantity`: still billed for it as far as is known, None = not known.

    `not_billed`: ConnectWise bills nothing for it, so that its quantity is 0.
    """

    company_id: str
    company_name: str
    quantity: float | None
    not_billed: bool = False


@dataclass(frozen=True)
class _Told:
    """What a check, result or write told of an addition; None = it did not tell this."""

    at: datetime
    quantity: float | None
    not_billed: bool | None = None


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[AbsentCompany]:
    """The companies that have no line in this push, by company id."""
    mine = (push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
    return _absent(tx, partner_id, ~exists().where(*mine, push_lines.c.company_id == mappings.c.company_id))


def of_newest_period(tx: Tx, partner_id: str) -> tuple[str, list[AbsentCompany]] | None:
    """The newest period that was pushed, and the companies that no push of it had; None = nothing was pushed."""
    newest = select(syncs.c.period_key).where(syncs.c.partner_id == partner_id)
    key = tx.execute(newest.order_by(syncs.c.period_start.desc(), syncs.c.period_end.desc()).limit(1)).scalar()
    if key is None:
        return None
    mine = (syncs.c.partner_id == partner_id, syncs.c.period_key == key)
    return key, _absent(tx, partner_id, ~exists().where(*mine, syncs.c.company_id == mappings.c.company_id))


def _absent(tx: Tx, partner_id: str, is_absent: ColumnElement[bool]) -> list[AbsentCompany]:
    """Those of the companies mapped to an addition of the ConnectWise that was connected last.

    What is billed for a company is the newest that is known of its addition without asking ConnectWise: what its last
    result told, or its last check, or the last write. Of an addition that several companies share it is the users that
    the company was pushed with last: the addition holds those of the others too. Nothing is billed if the newest check
    or result that tells says so.
    """
    history = connections.tenant_history(tx, partner_id)
    tenant = next((tenant for _, tenant in reversed(history) if tenant), None)
    mapped = (mappings.c.partner_id == partner_id, mappings.c.addition_id.is_not(None))
    found = [
        row
        for row in tx.execute(select(mappings).where(*mapped, is_absent).order_by(mappings.c.company_id))
        if connections.tenant_at(history, row.changed_at) == tenant
    ]
    told = {row.company_id: [_told_by_check(row.check_json)] if row.check_json else [] for row in found}
    for some in chunks(found, AT_ONCE):
        for company_id, one in _told_by_results(tx, partner_id, some):
            told[company_id].append(one)
    addition = (mappings.c.agreement_id, mappings.c.addition_id)
    several = select(*addition).where(*mapped).group_by(*addition).having(func.count() > 1)
    shared = {(row[0], row[1]) for row in tx.execute(several)}
    alone = [row for row in found if (row.agreement_id, row.addition_id) not in shared]
    quantities = _last_pushed(tx, partner_id, [row for row in found if (row.agreement_id, row.addition_id) in shared])
    for some in chunks(alone, AT_ONCE):
        companies = {(row.agreement_id, row.addition_id): row.company_id for row in some}
        for row in last_written_rows(tx, partner_id, tenant or "", companies):
            company_id = companies[row.agreement_id, row.addition_id]
            told[company_id].append(_Told(row.closed_at, row.quantity_after))
    for row in alone:
        known = [one for one in told[row.company_id] if one.quantity is not None]
        if known:
            quantities[row.company_id] = max(known, key=lambda one: one.at).quantity or 0
    return [
        AbsentCompany(row.company_id, row.company_name, 0, not_billed=True)
        if _is_not_billed(told[row.company_id])
        else AbsentCompany(row.company_id, row.company_name, quantities.get(row.company_id))
        for row in found
    ]


def _is_not_billed(told: Sequence[_Told]) -> bool:
    """True if the newest that told whether ConnectWise bills it said that it does not."""
    judged = [one for one in told if one.not_billed is not None]
    return bool(judged) and bool(max(judged, key=lambda one: one.at).not_billed)


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


def _told_by_check(text: str) -> _Told:
    check = json.loads(text)
    found = {problem["code"] for problem in check.get("problems", ())}
    return _Told(datetime.fromisoformat(check["time"]), check.get("quantity"), not NOT_BILLED.isdisjoint(found))


def _told_by_results(tx: Tx, partner_id: str, found: Sequence[Any]) -> list[tuple[str, _Told]]:
    """Return what the last result of each of these companies told, unless it is older than the mapping."""
    since = {row.company_id: row.changed_at for row in found}
    answered = select(company_status.c.company_id, company_status.c.result_json).where(
        company_status.c.partner_id == partner_id, company_status.c.company_id.in_(since)
    )
    told = []
    for company_id, text in tx.execute(answered):
        result = json.loads(text)
        at = datetime.fromisoformat(result["time"])
        if at >= since[company_id]:
            after = result["quantity_after"]
            quantity = result["quantity_before"] if after is None else after
            told.append((company_id, _Told(at, quantity, _not_billed_by_result(result))))
    return told


def _not_billed_by_result(result: dict[str, Any]) -> bool | None:
    """None if the result does not tell: the line came to nothing for another reason."""
    if result["status"] in {"updated", "unchanged"}:
        return False
    problems = [*result.get("reasons", ()), *([result["problem"]] if result.get("problem") else [])]
    return True if any(one["code"] in NOT_BILLED for one in problems) else None

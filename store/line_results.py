"""The answers to the lines of pushes: recorded with the line, and leaving by the outbox in the same transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import func, select, update

from messages import PushCompleted, SyncResult
from store import outbox
from store.bulk import update_many
from store.database import Tx, now
from store.outbox import OutboxRow
from store.pushes import Line, Push, chunks, line_of, line_query, push_of
from store.schema import OPEN_STATUSES, leases, push_lines, pushes

PER_SECOND = 300
"""Results of one partner that leave in a second: thousands at once are not in the way of another partner's ten.

At 1,000 the queue of results grew when the worker's machine was busy, and another partner's completion came last.
"""

BURST = 300
"""So many leave at once before they are spread over time."""

AT_ONCE = 500
"""Answers in memory at a time."""


def record(tx: Tx, results: Iterable[SyncResult]) -> int:
    """Record these answers, all of one partner, with their lines and let them leave; for lines that are still open.

    Call it inside `Database.partner(partner_id)`, or with the lease renewed in this transaction. Ten thousand may be
    generated: few are in memory at a time. Returns how many.
    """
    recorded, left = 0, iter(results)
    while some := list(islice(left, AT_ONCE)):
        _take_back(tx, [result for result in some if result.sequence > 1])
        rows = [outbox.row_of(result) for result in some]
        at = now(tx)
        lines = [_recorded(result, row.body, at) for result, row in zip(some, rows, strict=True)]
        update_many(tx, push_lines, ("partner_id", "push_id", "company_id"), lines)
        _let_leave(tx, some[0].partner_id, rows)
        recorded += len(some)
    return recorded


def _take_back(tx: Tx, results: Sequence[SyncResult]) -> None:
    """Let no `retrying` leave that these replace: while the broker is away they would pile up."""
    if not results:
        return
    said = select(push_lines.c.result_id).where(
        push_lines.c.partner_id == results[0].partner_id,
        push_lines.c.push_id.in_({result.push_id for result in results}),
        push_lines.c.company_id.in_({result.company_id for result in results}),
        push_lines.c.status == "retrying",
    )
    outbox.withdraw(tx, tx.execute(said).scalars().all())


def _recorded(result: SyncResult, body: bytes, at: datetime) -> dict[str, Any]:
    return {
        "partner_id": result.partner_id,
        "push_id": result.push_id,
        "company_id": result.company_id,
        "status": str(result.status),
        "sequence": result.sequence,
        "attempts": result.attempts,
        "result_id": str(result.id),
        "result_json": body.decode(),
        "result_at": at,
        "preview_due_at": None,
    }


def _let_leave(tx: Tx, partner_id: str, rows: Sequence[OutboxRow]) -> datetime:
    """Let results of one partner leave, those beyond a burst one after the other at its pace; when the last does."""
    which = leases.c.partner_id == partner_id
    at, step = now(tx), timedelta(seconds=1 / PER_SECOND)
    until = tx.execute(select(leases.c.results_until).where(which)).scalar()
    first = max(until or at, at) - BURST * step
    times = [max(at, first + number * step) for number in range(1, len(rows) + 1)]
    outbox.put_each(tx, list(zip(rows, times, strict=True)))
    tx.execute(update(leases).where(which).values(results_until=first + (BURST + len(rows)) * step))
    return times[-1]


def republish(tx: Tx, partner_id: str, push_id: str) -> int:
    """Let the recorded final answers of a push leave again, with the same ids; returns how many.

    Call it inside `Database.partner(partner_id)`.
    """
    query = select(push_lines.c.result_json).where(
        push_lines.c.partner_id == partner_id,
        push_lines.c.push_id == push_id,
        push_lines.c.status.not_in(OPEN_STATUSES),
    )
    recorded = list(tx.execute(query).scalars())
    last = now(tx)
    for some in chunks(recorded, AT_ONCE):
        last = _let_leave(tx, partner_id, [outbox.row_of(read_result(text)) for text in some])
    completed = select(pushes.c.completed_json).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    for text in tx.execute(completed).scalars():
        if text is not None:
            outbox.put(tx, PushCompleted.model_validate_json(text, extra="ignore"), not_before=last)
    return len(recorded)


def read_result(text: str) -> SyncResult:
    """Read a recorded answer, also one that a newer version of us wrote."""
    return SyncResult.model_validate_json(text, extra="ignore")


def mark_reported(tx: Tx, partner_id: str, push_id: str, result_ids: Mapping[str, str]) -> tuple[Push, bool] | None:
    """Final results, their ids by company, came back; (the push, whether nothing is missing any more), None if unknown.

    Locks the push, so that of two workers exactly one sees the last result come in.
    """
    which = (pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    row = tx.execute(select(pushes).where(*which).with_for_update()).mappings().first()
    if row is None:
        return None
    mine = (push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
    line = {"partner_id": partner_id, "push_id": push_id, "reported": True}
    came = [{**line, "company_id": company_id, "result_id": result_id} for company_id, result_id in result_ids.items()]
    update_many(tx, push_lines, ("partner_id", "push_id", "company_id", "result_id"), came)
    missing = tx.execute(select(push_lines.c.company_id).where(*mine, ~push_lines.c.reported).limit(1)).first()
    return push_of(row), missing is None and row["state"] == "accepted"


def complete_push(tx: Tx, completed: PushCompleted) -> None:
    """Close the push and let its completion leave."""
    tx.execute(
        update(pushes)
        .where(pushes.c.partner_id == completed.partner_id, pushes.c.push_id == completed.push_id)
        .values(state=completed.status, completed_json=completed.model_dump_json())
    )
    outbox.put(tx, completed)


def count_by_status(tx: Tx, partner_id: str, push_id: str) -> dict[str, int]:
    """Return the number of lines of the push in each status, open ones too."""
    return {status: companies for status, (companies, _) in totals_by_status(tx, partner_id, push_id).items()}


def totals_by_status(tx: Tx, partner_id: str, push_id: str) -> dict[str, tuple[int, int]]:
    """(lines, their users in all) of each status, open ones too."""
    query = (
        select(push_lines.c.status, func.count(), func.sum(push_lines.c.billable_users))
        .where(push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
        .group_by(push_lines.c.status)
    )
    return {status: (companies, int(users)) for status, companies, users in tx.execute(query)}


def previewed_unchanged(tx: Tx, partner_id: str, push_id: str) -> tuple[int, int]:
    """(lines, their users in all) of a preview whose quantity is there already."""
    query = select(push_lines.c.billable_users, push_lines.c.result_json).where(
        push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id, push_lines.c.status == "preview"
    )
    told = [(users, json.loads(text)) for users, text in tx.execute(query)]
    same = [users for users, result in told if result["quantity_before"] == result["quantity_wanted"]]
    return len(same), sum(same)


def lines_with_status(tx: Tx, partner_id: str, push_id: str, *statuses: str) -> list[Line]:
    """The push's lines of these statuses, by company id."""
    query = line_query(partner_id).where(push_lines.c.push_id == push_id, push_lines.c.status.in_(statuses))
    return [line_of(row) for row in tx.execute(query.order_by(push_lines.c.company_id)).mappings()]


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[tuple[str, str, int, SyncResult | None]]:
    """(company id, company name, billable users, newest answer) of each line, by company id."""
    query = (
        select(push_lines)
        .where(push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
        .order_by(push_lines.c.company_id)
    )
    return [
        (
            row.company_id,
            row.company_name,
            row.billable_users,
            read_result(row.result_json) if row.result_json else None,
        )
        for row in tx.execute(query)
    ]


def newest_of_period(tx: Tx, partner_id: str, period_key: str, users: Mapping[str, int]) -> list[SyncResult]:
    """The last answer of each of these companies, with their users, in this period.

    One to a push counts whatever its users were, one to a preview only if these were the same: what was only tried
    says nothing of other counts.
    """
    found: dict[str, SyncResult] = {}
    for some in chunks(sorted(users), 500):
        query = (
            select(push_lines.c.company_id, push_lines.c.result_json, push_lines.c.billable_users, pushes.c.mode)
            .join_from(push_lines, pushes)
            .where(
                push_lines.c.partner_id == partner_id,
                push_lines.c.company_id.in_(some),
                push_lines.c.result_json.is_not(None),
                pushes.c.period_key == period_key,
            )
            .order_by(push_lines.c.result_at)
        )
        found |= {
            row.company_id: read_result(row.result_json)
            for row in tx.execute(query)
            if row.mode != "preview" or row.billable_users == users[row.company_id]
        }
    return [found[company_id] for company_id in sorted(found)]


def completion(tx: Tx, partner_id: str, push_id: str) -> PushCompleted | None:
    """Return the completion of a push; None as long as it has not ended."""
    query = select(pushes.c.completed_json).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    text = tx.execute(query).scalar()
    return None if text is None else PushCompleted.model_validate_json(text, extra="ignore")


def progress(tx: Tx, partner_id: str, push_id: str) -> tuple[int, int]:
    """(lines with a final answer, lines in all), for a progress bar."""
    by_status = count_by_status(tx, partner_id, push_id)
    return sum(n for status, n in by_status.items() if status not in OPEN_STATUSES), sum(by_status.values())

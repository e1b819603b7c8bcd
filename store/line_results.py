"""Results of push lines: recorded with the line and in Sync Status, and put into the outbox, in one transaction."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, func, select, update

from messages import FINAL, PushCompleted, SyncResult
from store import company_status, outbox
from store.bulk import update_many
from store.database import Tx, now
from store.outbox import OutboxRow
from store.pushes import Line, chunks, line_of, line_query
from store.recorded_results import RecordedResult, read_result
from store.schema import OPEN_STATUSES, leases, push_lines, pushes

PER_SECOND = 300
"""Results of one partner sent per second, so that thousands of them do not delay another partner's ten.

At 1,000 the queue of results grew when the worker's machine was busy, and another partner's completion came last.
"""

BURST = 300
"""Results of one partner that are sent at once before the rate applies."""

AT_ONCE = 500
"""Results in memory at a time."""


class LineTotal(NamedTuple):
    """A number of lines, their billable users in all, and the attempts that were made after their first ones."""

    lines: int
    users: int
    retries: int = 0


class LineProgress(NamedTuple):
    """The lines of a push that have a final result, of all its lines."""

    answered: int
    total: int


class LineResult(NamedTuple):
    """A line of a push with its newest result; None before the first."""

    company_id: str
    company_name: str
    billable_users: int
    result: SyncResult | None


def record(tx: Tx, at: datetime, results: Iterable[SyncResult]) -> set[str]:
    """Record and send results of one partner, for lines that are still open. Returns the ids of pushes with final ones.

    `at`: the database's time. `worker.sync.completion.record` calls it, and completes pushes that have no open line
    then. Call it inside `Database.partner(partner_id)`, or with the lease renewed in this transaction. `results` may be
    a generator of ten thousand: AT_ONCE of them are in memory at a time.
    """
    ended: set[str] = set()
    remaining = iter(results)
    while batch := list(islice(remaining, AT_ONCE)):
        _withdraw_replaced(tx, [result for result in batch if result.sequence > 1])
        rows = [outbox.row_of(result) for result in batch]
        recorded = [RecordedResult(result, row.body.decode()) for result, row in zip(batch, rows, strict=True)]
        lines = [_line_values(result, text, at) for result, text in recorded]
        update_many(tx, push_lines, ("partner_id", "push_id", "company_id"), lines)
        company_status.keep_newest(tx, [each for each in recorded if each.result.changes_status])
        send(tx, batch[0].partner_id, rows, at)
        ended.update(result.push_id for result in batch if result.status in FINAL)
    return ended


def _withdraw_replaced(tx: Tx, results: Sequence[SyncResult]) -> None:
    """Withdraw `retrying` results that these replace: they would pile up while the broker is away."""
    if not results:
        return
    replaced = select(push_lines.c.result_id).where(
        push_lines.c.partner_id == results[0].partner_id,
        push_lines.c.push_id.in_({result.push_id for result in results}),
        push_lines.c.company_id.in_({result.company_id for result in results}),
        push_lines.c.status == "retrying",
    )
    outbox.withdraw(tx, tx.execute(replaced).scalars().all())


def _line_values(result: SyncResult, text: str, at: datetime) -> dict[str, Any]:
    return {
        "partner_id": result.partner_id,
        "push_id": result.push_id,
        "company_id": result.company_id,
        "status": str(result.status),
        "sequence": result.sequence,
        "attempts": result.attempts,
        "result_id": str(result.id),
        "result_json": text,
        "result_at": at,
        "preview_due_at": None,
    }


def send(tx: Tx, partner_id: str, rows: Sequence[OutboxRow], at: datetime) -> datetime:
    """Send results of one partner, those beyond BURST at PER_SECOND. Returns the time at which the last is sent."""
    if not rows:
        return at
    step = timedelta(seconds=1 / PER_SECOND)
    until = tx.execute(_RESULTS_UNTIL, {"partner": partner_id}).scalar()
    first = max(until or at, at) - BURST * step
    times = [max(at, first + number * step) for number in range(1, len(rows) + 1)]
    outbox.put_each(tx, list(zip(rows, times, strict=True)))
    tx.execute(_SET_RESULTS_UNTIL, {"partner": partner_id, "until_then": first + (BURST + len(rows)) * step})
    return times[-1]


_RESULTS_UNTIL = select(leases.c.results_until).where(leases.c.partner_id == bindparam("partner"))
_SET_RESULTS_UNTIL = (
    update(leases).where(leases.c.partner_id == bindparam("partner")).values(results_until=bindparam("until_then"))
)


def republish(tx: Tx, partner_id: str, push_id: str) -> int:
    """Send the recorded final results of a push again, with the same ids. Returns their number.

    Call it inside `Database.partner(partner_id)`.
    """
    query = select(push_lines.c.result_json).where(
        push_lines.c.partner_id == partner_id,
        push_lines.c.push_id == push_id,
        push_lines.c.status.not_in(OPEN_STATUSES),
    )
    recorded = list(tx.execute(query).scalars())
    last = now(tx)
    for batch in chunks(recorded, AT_ONCE):
        last = send(tx, partner_id, [outbox.row_of(read_result(text)) for text in batch], now(tx))
    completed = select(pushes.c.completed_json).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    for text in tx.execute(completed).scalars():
        if text is not None:
            outbox.put(tx, PushCompleted.model_validate_json(text, extra="ignore"), not_before=last)
    return len(recorded)


def count_by_status(tx: Tx, partner_id: str, push_id: str) -> dict[str, int]:
    """Return the number of lines of the push in each status, open ones too."""
    return {status: total.lines for status, total in totals_by_status(tx, partner_id, push_id).items()}


def totals_by_status(tx: Tx, partner_id: str, push_id: str) -> dict[str, LineTotal]:
    """The total of the lines in each status, open ones too."""
    query = (
        select(push_lines.c.status, func.count(), func.sum(push_lines.c.billable_users), func.sum(_RETRIES))
        .where(push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
        .group_by(push_lines.c.status)
    )
    return {status: LineTotal(*map(int, total)) for status, *total in tx.execute(query)}


_RETRIES = case((push_lines.c.attempts > 1, push_lines.c.attempts - 1), else_=0)


def previewed_unchanged(tx: Tx, partner_id: str, push_id: str) -> LineTotal:
    """The total of the lines of a preview that would change nothing."""
    query = select(push_lines.c.billable_users, push_lines.c.result_json).where(
        push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id, push_lines.c.status == "preview"
    )
    results = [(users, json.loads(text)) for users, text in tx.execute(query)]
    unchanged = [users for users, result in results if result["quantity_before"] == result["quantity_wanted"]]
    return LineTotal(len(unchanged), sum(unchanged))


def lines_with_status(tx: Tx, partner_id: str, push_id: str, *statuses: str) -> list[Line]:
    """The lines of a push in these statuses, by company id."""
    query = line_query(partner_id).where(push_lines.c.push_id == push_id, push_lines.c.status.in_(statuses))
    return [line_of(row) for row in tx.execute(query.order_by(push_lines.c.company_id)).mappings()]


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[LineResult]:
    """The lines of a push with their newest results, by company id."""
    query = (
        select(push_lines)
        .where(push_lines.c.partner_id == partner_id, push_lines.c.push_id == push_id)
        .order_by(push_lines.c.company_id)
    )
    return [
        LineResult(
            row.company_id,
            row.company_name,
            row.billable_users,
            read_result(row.result_json) if row.result_json else None,
        )
        for row in tx.execute(query)
    ]


def newest_of_period(tx: Tx, partner_id: str, period_key: str, users: Mapping[str, int]) -> list[SyncResult]:
    """The last result of each of these companies in this period, by company id.

    `users`: the billable users by company. The result of a preview counts only if it had the same users, since it says
    nothing about other numbers; the result of a push always counts.
    """
    newest: dict[str, SyncResult] = {}
    for company_ids in chunks(sorted(users), 500):
        query = (
            select(push_lines.c.company_id, push_lines.c.result_json, push_lines.c.billable_users, pushes.c.mode)
            .join_from(push_lines, pushes)
            .where(
                push_lines.c.partner_id == partner_id,
                push_lines.c.company_id.in_(company_ids),
                push_lines.c.result_json.is_not(None),
                pushes.c.period_key == period_key,
            )
            .order_by(push_lines.c.result_at)
        )
        newest |= {
            row.company_id: read_result(row.result_json)
            for row in tx.execute(query)
            if row.mode != "preview" or row.billable_users == users[row.company_id]
        }
    return [newest[company_id] for company_id in sorted(newest)]


def pushed_in_period(tx: Tx, partner_id: str, period_key: str, company_ids: Collection[str]) -> list[LineResult]:
    """The lines of these companies in their newest push or revert of a period that says what became of them."""
    newest: dict[str, LineResult] = {}
    for some in chunks(sorted(company_ids), AT_ONCE):
        query = (
            select(push_lines)
            .join_from(push_lines, pushes)
            .where(
                push_lines.c.partner_id == partner_id,
                push_lines.c.company_id.in_(some),
                push_lines.c.result_json.is_not(None),
                pushes.c.period_key == period_key,
                pushes.c.mode != "preview",
            )
            .order_by(pushes.c.requested_at.desc(), pushes.c.push_id.desc())
        )
        for row in tx.execute(query):
            if row.company_id not in newest and (result := read_result(row.result_json)).changes_status:
                newest[row.company_id] = LineResult(row.company_id, row.company_name, row.billable_users, result)
    return [newest[company_id] for company_id in sorted(newest)]


def progress(tx: Tx, partner_id: str, push_id: str) -> LineProgress:
    """The progress of a push, for a progress bar."""
    by_status = count_by_status(tx, partner_id, push_id)
    answered = sum(lines for status, lines in by_status.items() if status not in OPEN_STATUSES)
    return LineProgress(answered, sum(by_status.values()))

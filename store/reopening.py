"""A replay of failed lines: a new round of their push, in which these lines are asked again."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update

from messages import Confirmation, PushRequested, RevertRequested
from store import line_results, pushes, targets
from store.database import Tx
from store.pushes import Line, LineKey, Push, chunks
from store.schema import push_lines
from store.schema import pushes as table


@dataclass(frozen=True)
class Reopened:
    """`opened` are the lines that are asked again; `overtaken` those of them whose wish is a newer push's by now."""

    opened: list[LineKey]
    overtaken: list[LineKey]


def reopen_push(tx: Tx, event: PushRequested, at: datetime) -> Reopened | None:
    """Open those of the event's lines that failed; what is answered otherwise, or still open, stays as it is.

    None = the push is unknown, or this is not the question that it asked. Call it inside `Database.partner`.
    """
    push = pushes.find(tx, event.partner_id, event.push_id)
    confirmations = {one.company_id: one for one in event.confirmations}
    asked = {
        (event.push_id, line.company_id): (
            line.billable_users,
            line.mapping_changed_at,
            confirmations.get(line.company_id),
        )
        for line in event.lines
    }
    stored = pushes.lines(tx, event.partner_id, asked.keys())
    if push is None or _head(push) != _head(event):
        return None
    questions = {
        key: (line.billable_users, line.mapping_changed_at, _confirmation(line)) for key, line in stored.items()
    }
    if questions != asked:
        return None
    return _open_again(tx, push, [line for line in stored.values() if line.status == "failed"], at)


def reopen_revert(tx: Tx, event: RevertRequested, at: datetime) -> Reopened | None:
    """The same for a revert, of which only the lines that have something to restore are asked again."""
    push = pushes.find(tx, event.partner_id, event.revert_id)
    if push is None or (push.reverts, push.requested_at) != (event.push_id, event.requested_at):
        return None
    failed = {
        line.company_id: line for line in line_results.lines_with_status(tx, push.partner_id, push.push_id, "failed")
    }
    named = failed.keys() if event.company_ids is None else failed.keys() & set(event.company_ids)
    return _open_again(tx, push, [line for company, line in failed.items() if company in named and line.restore], at)


def _open_again(tx: Tx, push: Push, failed: Sequence[Line], at: datetime) -> Reopened:
    if not failed:
        return Reopened([], [])
    which = (table.c.partner_id == push.partner_id, table.c.push_id == push.push_id)
    tx.execute(update(table).where(*which).values(round=push.round + 1, state="accepted", completed_json=None))
    companies = [line.company_id for line in failed]
    _reopen(tx, push, companies, at)
    mine = set(companies) if push.mode == "preview" else targets.request_again(tx, push, companies, at)
    return Reopened([line.key for line in failed], [line.key for line in failed if line.company_id not in mine])


def count_overtaken(tx: Tx, lines: Sequence[Line]) -> int:
    """Return the number of these lines of one push whose wish is a newer push's by now."""
    if not lines or lines[0].push.mode == "preview":
        return 0
    push = lines[0].push
    stored = targets.of_companies(tx, push.partner_id, {line.company_id for line in lines})
    keys = [(line.company_id, push.period.key) for line in lines]
    return sum(key in stored and stored[key].version != (push.requested_at, push.push_id) for key in keys)


def count_overtaken_if_new(tx: Tx, event: PushRequested) -> int:
    """Return the number of lines of a push that was never accepted whose wish is a newer push's by now."""
    if event.mode == "preview":
        return 0
    stored = targets.of_companies(tx, event.partner_id, {line.company_id for line in event.lines})
    keys = [(line.company_id, event.period.key) for line in event.lines]
    return sum(key in stored and stored[key].version >= (event.requested_at, event.push_id) for key in keys)


def _head(push: Push | PushRequested) -> tuple[object, ...]:
    return (push.requested_at, push.period, push.mode, push.connection_changed_at)


def _confirmation(line: Line) -> Confirmation | None:
    kept = line.confirmation
    return None if kept is None else Confirmation.model_validate_json(json.dumps(kept), extra="ignore")


def _reopen(tx: Tx, push: Push, company_ids: Collection[str], at: datetime) -> None:
    for some in chunks(sorted(company_ids), 1000):
        tx.execute(
            update(push_lines)
            .where(
                push_lines.c.partner_id == push.partner_id,
                push_lines.c.push_id == push.push_id,
                push_lines.c.company_id.in_(some),
            )
            .values(
                status="pending",
                result_id=None,
                result_json=None,
                result_at=None,
                attempts=0,
                reported=False,
                round=push.round + 1,
                preview_due_at=at if push.mode == "preview" else None,
            )
        )

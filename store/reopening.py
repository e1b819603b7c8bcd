"""Reopening failed lines for a replay: their push enters its next round, in which these lines are processed again."""

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
    """The lines that were opened again; `overtaken` are those among them whose target a newer push has replaced."""

    opened: list[LineKey]
    overtaken: list[LineKey]


def reopen_push(tx: Tx, event: PushRequested, at: datetime) -> Reopened | None:
    """Open the failed lines of a push again. Lines that are open, or ended otherwise, stay as they are.

    None = the push is unknown, or was not stored with this content. Call it inside `Database.partner`.
    """
    push = pushes.find(tx, event.partner_id, event.push_id)
    confirmations = {confirmation.company_id: confirmation for confirmation in event.confirmations}
    requested = {
        (event.push_id, line.company_id): (
            line.billable_users,
            line.mapping_changed_at,
            confirmations.get(line.company_id),
        )
        for line in event.lines
    }
    stored = pushes.lines(tx, event.partner_id, requested.keys())
    if push is None or _head(push) != _head(event):
        return None
    stored_terms = {
        key: (line.billable_users, line.mapping_changed_at, _confirmation(line)) for key, line in stored.items()
    }
    if stored_terms != requested:
        return None
    return _open_again(tx, push, [line for line in stored.values() if line.status == "failed"], at)


def reopen_revert(tx: Tx, event: RevertRequested, at: datetime) -> Reopened | None:
    """Open the failed lines of a revert again, as far as they have something to restore; None as of `reopen_push`."""
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
    """The number of these lines of one push whose target a newer push has replaced."""
    if not lines or lines[0].push.mode == "preview":
        return 0
    push = lines[0].push
    stored = targets.of_companies(tx, push.partner_id, {line.company_id for line in lines})
    keys = [(line.company_id, push.period.key) for line in lines]
    return sum(key in stored and stored[key].version != (push.requested_at, push.push_id) for key in keys)


def count_overtaken_if_new(tx: Tx, event: PushRequested) -> int:
    """The number of lines of a push that was never accepted, and would be superseded by newer targets."""
    if event.mode == "preview":
        return 0
    stored = targets.of_companies(tx, event.partner_id, {line.company_id for line in event.lines})
    keys = [(line.company_id, event.period.key) for line in event.lines]
    return sum(key in stored and stored[key].version >= (event.requested_at, event.push_id) for key in keys)


def _head(push: Push | PushRequested) -> tuple[object, ...]:
    return (push.requested_at, push.period, push.mode, push.connection_changed_at)


def _confirmation(line: Line) -> Confirmation | None:
    stored = line.confirmation
    return None if stored is None else Confirmation.model_validate_json(json.dumps(stored), extra="ignore")


def _reopen(tx: Tx, push: Push, company_ids: Collection[str], at: datetime) -> None:
    for batch in chunks(sorted(company_ids), 1000):
        tx.execute(
            update(push_lines)
            .where(
                push_lines.c.partner_id == push.partner_id,
                push_lines.c.push_id == push.push_id,
                push_lines.c.company_id.in_(batch),
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

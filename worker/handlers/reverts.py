"""A revert is a push of its own that puts back what another push wrote, where ConnectWise still holds that."""

from datetime import datetime

import structlog

from messages import PushCompleted, RevertRequested, derived_id
from store import (
    Tx,
    cancellations,
    completions,
    leases,
    ledger,
    line_results,
    now,
    outbox,
    past_writes,
    pushes,
    reverts,
    targets,
)
from store.pushes import Acceptance, Line, Push, Restore
from store.replays import Replay
from store.schema import FINAL_STATUSES, OPEN_STATUSES
from worker.handlers.cancellation import cancel
from worker.handlers.context import Context, MessageRejected
from worker.handlers.pushes import content_hash, reopen_failed_lines
from worker.rules.problems import problem
from worker.rules.quantities import Answer
from worker.rules.restorations import restorations
from worker.sync import completion
from worker.sync.results import result, superseded

log = structlog.get_logger()


def revert_requested(context: Context, event: RevertRequested, replay: Replay | None = None) -> int:
    """Accept a revert. Returns the number of results that are published again, because the revert came before.

    A replay opens its failed lines again. Raises MessageRejected if the revert's id is taken.
    """
    with context.database.partner(event.partner_id) as tx:
        if replay is not None and reopen_failed_lines(tx, event, replay):
            return 0
        acceptance = _accept(tx, event, now(tx))
        if acceptance is Acceptance.CONFLICT:
            detail = f"a push or revert {event.revert_id} with other content was accepted before"
            raise MessageRejected("conflict", detail)
        republished = 0
        if acceptance is Acceptance.REPEAT:
            republished = line_results.republish(tx, event.partner_id, event.revert_id)
        if cancellations.of_pushes(tx, event.partner_id, [event.revert_id]):
            cancel(tx, event.partner_id, event.revert_id)
        leases.wake(tx, event.partner_id)
    outcome = acceptance.value if acceptance else "refused"
    log.info("revert.accepted", push=event.revert_id, reverts=event.push_id, acceptance=outcome)
    return republished


def _accept(tx: Tx, event: RevertRequested, at: datetime) -> Acceptance | None:
    """Store a revert, its lines and targets, and answer lines that cannot be restored. None = its push is unknown."""
    body_hash = content_hash(event)
    known = pushes.find(tx, event.partner_id, event.revert_id)
    if known is not None:
        return Acceptance.REPEAT if known.body_hash == body_hash else Acceptance.CONFLICT
    reverted = pushes.find(tx, event.partner_id, event.push_id)
    if reverted is None:
        outbox.put(tx, _push_unknown(event, body_hash))
        return None
    every_status = (*OPEN_STATUSES, *FINAL_STATUSES)
    stored = line_results.lines_with_status(tx, event.partner_id, event.push_id, *every_status)
    reverted_lines = {line.company_id: line for line in stored}
    written = past_writes.writes_of_push(tx, event.partner_id, event.push_id)
    # A push of the same period that was requested after the revert supersedes it; one of another, the run finds.
    newer = reverts.pushed_since(tx, event.partner_id, reverted, before=event.requested_at)
    may_land = {company for company, until in ledger.companies_under_way(tx, event.partner_id).items() if until > at}
    outcomes = restorations(written, reverted_lines, event.company_ids, newer, may_land)
    push = _push(event, reverted, body_hash, len(outcomes), at)
    lines = {company_id: _line(push, company_id, reverted_lines, outcome) for company_id, outcome in outcomes.items()}
    pushes.save(tx, push, lines.values())
    wanted = pushes.users_of(line for line in lines.values() if line.restore is not None)
    displaced = pushes.lines(tx, event.partner_id, targets.request(tx, push, wanted, at))
    results = [superseded(line) for line in displaced.values() if line.is_open]
    for company_id, outcome in outcomes.items():
        if isinstance(outcome, Answer):
            results.append(result(lines[company_id], outcome.status, attempts=0, problem=outcome.problem))
    completion.record(tx, at, event.partner_id, results)
    if not lines:
        completions.complete(tx, _nothing_written(push))
    return Acceptance.NEW


def _push(event: RevertRequested, reverted: Push, body_hash: str, line_count: int, at: datetime) -> Push:
    return Push(
        partner_id=event.partner_id,
        push_id=event.revert_id,
        message_id=str(event.id),
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        requested_at=event.requested_at,
        requested_by=event.requested_by,
        period=reverted.period,
        mode="revert",
        connection_changed_at=None,
        line_count=line_count,
        accepted_at=at,
        round=0,
        state="accepted",
        body_hash=body_hash,
        reverts=event.push_id,
    )


def _line(push: Push, company_id: str, reverted_lines: dict[str, Line], outcome: Restore | Answer) -> Line:
    """Make the line of a company, which has no users and no name but its id if it was not in the push."""
    reverted = reverted_lines.get(company_id)
    return Line(
        push=push,
        company_id=company_id,
        company_name=reverted.company_name if reverted else company_id,
        billable_users=reverted.billable_users if reverted else 0,
        mapping_changed_at=None,
        confirmation=None,
        restore=outcome if isinstance(outcome, Restore) else None,
    )


def _push_unknown(event: RevertRequested, body_hash: str) -> PushCompleted:
    return PushCompleted(
        id=derived_id(event.requested_at, "revert.refused", event.partner_id, event.revert_id, body_hash),
        partner_id=event.partner_id,
        correlation_id=event.correlation_id,
        causation_id=str(event.id),
        traceparent=event.traceparent,
        push_id=event.revert_id,
        mode="revert",
        status="refused",
        problem=problem("push_unknown"),
    )


def _nothing_written(push: Push) -> PushCompleted:
    return PushCompleted(
        id=derived_id(push.requested_at, "push.completed", push.partner_id, push.push_id, str(push.round)),
        partner_id=push.partner_id,
        correlation_id=push.correlation_id,
        causation_id=push.message_id,
        traceparent=push.traceparent,
        push_id=push.push_id,
        mode=push.mode,
        period=push.period,
        status="refused",
        problem=problem("nothing_written"),
    )

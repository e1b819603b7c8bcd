"""Reverting: a push of its own that puts back what another push wrote, where ConnectWise still holds that."""

from datetime import datetime

from messages import PushCompleted, RevertRequested, derived_id
from store import Tx, ledger, line_results, outbox, pushes, reverts, targets
from store.pushes import Acceptance, Line, Push, Restore
from store.schema import FINAL_STATUSES, OPEN_STATUSES
from worker.rules.problems import problem
from worker.rules.quantities import Answer
from worker.rules.restorations import restorations
from worker.sync.results import result, superseded


def revert(tx: Tx, event: RevertRequested, body_hash: str, at: datetime) -> Acceptance | None:
    """Keep a revert, its lines and its wishes, and answer what cannot be put back; None = its push is unknown.

    Call it inside `Database.partner(event.partner_id)`.
    """
    known = pushes.find(tx, event.partner_id, event.revert_id)
    if known is not None:
        return Acceptance.REPEAT if known.body_hash == body_hash else Acceptance.CONFLICT
    reverted = pushes.find(tx, event.partner_id, event.push_id)
    if reverted is None:
        outbox.put(tx, _unknown(event, body_hash))
        return None
    everything = line_results.lines_with_status(tx, event.partner_id, event.push_id, *OPEN_STATUSES, *FINAL_STATUSES)
    its_lines = {line.company_id: line for line in everything}
    written = ledger.writes_of_push(tx, event.partner_id, event.push_id)
    # A push that was requested after the revert supersedes it, if it is of the same period; else the run finds it.
    newer = reverts.pushed_since(tx, event.partner_id, reverted, before=event.requested_at)
    may_land = {company for company, until in ledger.companies_under_way(tx, event.partner_id).items() if until > at}
    fates = restorations(written, its_lines, event.company_ids, newer, may_land)
    push = _push(event, reverted, body_hash, len(fates), at)
    lines = {company_id: _line(push, company_id, its_lines, fate) for company_id, fate in fates.items()}
    pushes.save(tx, push, lines.values())
    wanted = pushes.users_of(line for line in lines.values() if line.restore is not None)
    displaced = pushes.lines(tx, event.partner_id, targets.request(tx, push, wanted, at))
    told = [superseded(line) for line in displaced.values() if line.is_open]
    for company_id, fate in fates.items():
        if isinstance(fate, Answer):
            told.append(result(lines[company_id], fate.status, attempts=0, problem=fate.problem))
    line_results.record(tx, told)
    if not lines:
        line_results.complete_push(tx, _nothing_written(push))
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


def _line(push: Push, company_id: str, its_lines: dict[str, Line], fate: Restore | Answer) -> Line:
    """Named as in the push; a company that was not in it has no users there, and no other name than its id."""
    its = its_lines.get(company_id)
    return Line(
        push=push,
        company_id=company_id,
        company_name=its.company_name if its else company_id,
        billable_users=its.billable_users if its else 0,
        mapping_changed_at=None,
        confirmation=None,
        restore=fate if isinstance(fate, Restore) else None,
    )


def _unknown(event: RevertRequested, body_hash: str) -> PushCompleted:
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

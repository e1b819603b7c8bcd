"""A push is stored: its lines, and the targets that are newer than the stored ones. The partner's run does the work."""

import hashlib

import structlog

from messages import PushRequested, RevertRequested
from store import Tx, cancellations, leases, line_results, now, pushes, reopening, replays
from store.pushes import Acceptance
from store.replays import Noted, Replay
from worker.handlers.cancellation import cancel
from worker.handlers.context import Context, MessageRejected
from worker.sync import completion
from worker.sync.results import superseded

log = structlog.get_logger()

ENVELOPE = {"id", "time", "source", "correlation_id", "causation_id", "traceparent"}


def push_requested(context: Context, event: PushRequested, replay: Replay | None = None) -> int:
    """Accept a push. Returns the number of results that are published again, because the push came before.

    A replay opens the push's failed lines again. Raises MessageRejected if the push id is taken.
    """
    with context.database.partner(event.partner_id) as tx:
        if replay is not None and reopen_failed_lines(tx, event, replay):
            return 0
        at = now(tx)
        accepted = pushes.accept(tx, event, content_hash(event), at)
        if accepted.acceptance is Acceptance.CONFLICT:
            raise MessageRejected("conflict", f"a push {event.push_id} with other content was accepted before")
        republished = 0
        if accepted.acceptance is Acceptance.REPEAT:
            republished = line_results.republish(tx, event.partner_id, event.push_id)
        lines = pushes.lines(tx, event.partner_id, accepted.superseded)
        completion.record(tx, at, event.partner_id, (superseded(line) for line in lines.values() if line.is_open))
        if cancellations.of_pushes(tx, event.partner_id, [event.push_id]):
            cancel(tx, event.partner_id, event.push_id)
        leases.wake(tx, event.partner_id)
    log.info("push.accepted", push=event.push_id, lines=len(event.lines), acceptance=accepted.acceptance.value)
    return republished


def reopen_failed_lines(tx: Tx, event: PushRequested | RevertRequested, replay: Replay) -> bool:
    """Begin a new round of the push or revert that is replayed, or nothing if this replay came before.

    Returns False if no such replay or push is known: the message is then handled like any other.
    """
    match replays.note(tx, replay):
        case Noted.UNKNOWN:
            return False
        case Noted.BEFORE:
            return True
    at = now(tx)
    if isinstance(event, RevertRequested):
        begun, push_id = reopening.reopen_revert(tx, event, at), event.revert_id
    else:
        begun, push_id = reopening.reopen_push(tx, event, at), event.push_id
    if begun is None:
        return False
    lines = pushes.lines(tx, event.partner_id, begun.overtaken)
    completion.record(tx, at, event.partner_id, (superseded(line) for line in lines.values()))
    leases.wake(tx, event.partner_id)
    log.info("push.replayed", push=push_id, lines=len(begun.opened), overtaken=len(begun.overtaken))
    return True


def content_hash(event: PushRequested | RevertRequested) -> str:
    """Hash the event without its envelope, since a repeat may come in a new one."""
    return hashlib.sha256(event.model_dump_json(exclude=ENVELOPE).encode()).hexdigest()

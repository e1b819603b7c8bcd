"""A push is cancelled: lines that are not being written are answered `cancelled`, the others by the partner's run."""

import structlog

from messages import PushCancelRequested
from store import Tx, cancellations, ledger, line_results, now, targets
from store.schema import OPEN_STATUSES
from worker.handlers.context import Context
from worker.rules.problems import problem
from worker.sync import completion
from worker.sync.results import result

log = structlog.get_logger()


def push_cancel_requested(context: Context, event: PushCancelRequested) -> None:
    """Cancel a push; one that has not arrived yet is cancelled when it does."""
    with context.database.partner(event.partner_id) as tx:
        cancellations.add(tx, event)
        cancelled = cancel(tx, event.partner_id, event.push_id)
    log.info("push.cancelled", push=event.push_id, lines=cancelled, requested_by=event.requested_by)


def cancel(tx: Tx, partner_id: str, push_id: str) -> int:
    """Answer the open lines of a push that are not being written. Returns their number.

    Call it inside `Database.partner(partner_id)`.
    """
    under_way = ledger.companies_under_way(tx, partner_id)
    lines = [
        line
        for line in line_results.lines_with_status(tx, partner_id, push_id, *OPEN_STATUSES)
        if line.company_id not in under_way
    ]
    stored = targets.of_companies(tx, partner_id, {line.company_id for line in lines})
    cancelled = [target for target in stored.values() if target.push_id == push_id and target.due_at is not None]
    targets.settle(tx, partner_id, [(target, None) for target in cancelled])
    why = problem("cancelled")
    results = (result(line, "cancelled", attempts=line.attempts, problem=why) for line in lines)
    completion.record(tx, now(tx), partner_id, results)
    return len(lines)

"""Our own results come back through a queue, in order to update Sync Status and to complete pushes."""

from collections.abc import Sequence

import structlog

from messages import FINAL, SyncResult
from store import company_status, line_results
from worker.handlers.context import Context
from worker.sync.completion import completed

log = structlog.get_logger()


def sync_results(context: Context, results: Sequence[SyncResult]) -> None:
    """Update Sync Status, and complete each push whose last line has its final result."""
    final: dict[tuple[str, str], dict[str, str]] = {}
    for result in sorted(results, key=lambda result: result.sequence):
        if result.status in FINAL:
            final.setdefault((result.partner_id, result.push_id), {})[result.company_id] = str(result.id)
    with context.database.begin() as tx:
        company_status.keep_newest(tx, [result for result in results if result.changes_status])
        for (partner_id, push_id), result_ids in sorted(final.items()):
            reported = line_results.mark_reported(tx, partner_id, push_id, result_ids)
            if reported is not None and reported.is_complete:
                push = reported.push
                line_results.complete_push(tx, completed(tx, push))
                log.info("push.completed", partner=partner_id, push=push_id, correlation_id=push.correlation_id)

"""A question for choices is answered from the cache, or is stored for the partner's run."""

import structlog

from messages import CatalogRequested
from worker.catalog import questions
from worker.handlers.context import Context

log = structlog.get_logger()


def catalog_requested(context: Context, event: CatalogRequested) -> None:
    """Answer from what was read in the last minutes, or have the run ask ConnectWise."""
    with context.database.partner(event.partner_id) as tx:
        answered = questions.answer_or_queue(tx, event)
    log.info("catalog.asked", kind=event.kind, page=event.page, answered=answered)

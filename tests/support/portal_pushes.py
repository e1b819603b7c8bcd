"""Pushes of the portal's forms without a worker: accepted and answered in the store, and what the forms have sent."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from messages import LineStatus, PushCompleted, PushRequested
from store import Database, completions, line_results, now
from store.schema import outbox
from tests.support.samples import PARTNER, PROBLEM, sync_result
from tests.support.store import accept

PUSH = f"/portal/push?partner={PARTNER}&period=2025-11"
IMPORT = f"/portal/counts?partner={PARTNER}"
FORM = f"/portal/connect?partner={PARTNER}&change=1"


def ended(database: Database, event: PushRequested, by: Mapping[str, LineStatus], end: Any = "completed") -> None:
    """Accept a push, answer its lines, by company, and end it."""
    accept(database, event)
    results = [
        sync_result(event, company, status, mode=event.mode, reasons=(PROBLEM,) if status == "held" else ())
        for company, status in by.items()
    ]
    done = PushCompleted(
        partner_id=PARTNER,
        correlation_id=event.correlation_id,
        push_id=event.push_id,
        status=end,
        problem=PROBLEM if end == "refused" else None,
    )
    with database.partner(PARTNER) as tx:
        line_results.record(tx, now(tx), results)
        completions.complete(tx, done)


def sent(database: Database) -> list[PushRequested]:
    """The pushes that forms have sent, the oldest first."""
    with database.begin() as tx:
        bodies = tx.execute(select(outbox.c.body).order_by(outbox.c.id)).scalars().all()
    return [PushRequested.model_validate_json(body) for body in bodies if b'"push.requested.v1"' in body]

"""Lists of a partner's pushes, previews and reverts."""

from datetime import datetime

from sqlalchemy import select

from store.database import Tx
from store.pushes import Push, push_of
from store.schema import pushes


def running(tx: Tx, partner_id: str) -> list[Push]:
    """The pushes that have lines without a final answer, the newest first."""
    query = select(pushes).where(pushes.c.partner_id == partner_id, pushes.c.state == "accepted")
    return [push_of(row) for row in tx.execute(query.order_by(pushes.c.requested_at.desc())).mappings()]


def recent(tx: Tx, partner_id: str, before: datetime | None, limit: int) -> list[Push]:
    """Pushes, previews and reverts by the time of their request, the newest first, those before a time."""
    query = select(pushes).where(pushes.c.partner_id == partner_id)
    if before is not None:
        query = query.where(pushes.c.requested_at < before)
    return [push_of(row) for row in tx.execute(query.order_by(pushes.c.requested_at.desc()).limit(limit)).mappings()]

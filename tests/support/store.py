"""Short ways into the store, for its own tests."""

from datetime import datetime

from sqlalchemy import select, update

from messages import PushRequested
from store import Database, now, pushes
from store.database import Tx, db_now
from store.pushes import Accepted
from store.schema import leases, outbox


def accept(database: Database, event: PushRequested, body: str = "the same", at: datetime | None = None) -> Accepted:
    """Accept a push now, or at that time, with a fingerprint of its body."""
    with database.partner(event.partner_id) as tx:
        return pushes.accept(tx, event, body, now(tx) if at is None else at)


def leaving(database: Database) -> list[str]:
    """The message ids in the outbox, in the order they were put there."""
    with database.begin() as tx:
        return list(tx.execute(select(outbox.c.message_id).order_by(outbox.c.id)).scalars())


def expire_lease(tx: Tx, partner_id: str) -> None:
    """Let the lease end a second ago, as if its holder had been killed."""
    tx.execute(update(leases).where(leases.c.partner_id == partner_id).values(until=db_now(-1)))

"""Short ways into the store, for its own tests."""

from datetime import datetime

from sqlalchemy import select, update

from messages import PushRequested, encode
from store import Database, leases, now, pushes
from store import outbox as outbox_store
from store.database import Tx, db_now
from store.leases import Lease
from store.outbox import OutboxRow
from store.pushes import Accepted
from store.schema import EXCHANGE_DEFERRED, outbox
from store.schema import leases as leases_table
from worker.topology import queue_of


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
    table = leases_table
    tx.execute(update(table).where(table.c.partner_id == partner_id).values(until=db_now(-1)))


def take_lease(database: Database, partner_id: str) -> Lease | None:
    """Wake the partner and take its lease, None if a worker has it; other partners are left alone."""
    with database.partner(partner_id) as tx:
        leases.wake(tx, partner_id)
        return next((lease for lease in leases.claim(tx, 100) if lease.partner_id == partner_id), None)


def deferred(push: PushRequested, size: int = 0) -> OutboxRow:
    """The push as a worker defers it, grown to this size by a field that readers ignore."""
    wire, properties = encode(push), outbox_store.properties_of(encode(push))
    body = wire.body
    if size:
        body = body[:-1] + b',"note":"' + b"x" * (size - len(body)) + b'"}'
    name, queue = wire.properties.message_id, queue_of(push.type)
    return OutboxRow(0, name, 0, EXCHANGE_DEFERRED, queue, properties, body, push.partner_id)


def claimed(tx: Tx, limit: int = 100, seconds: float = 60.0) -> list[OutboxRow]:
    """Rows that are due to leave, as a relay takes them."""
    return outbox_store.read(tx, outbox_store.claim(tx, limit, seconds))

"""The embedded broker is the outbox itself: a row is delivered to the handlers of this process or of another."""

from collections.abc import Sequence

from store import outbox
from store.outbox import Destination, OutboxRow
from worker.messaging import outbox_consumer
from worker.messaging.broker import Deliver, Fault, QueueDepth, Refusal
from worker.messaging.outbox_consumer import OutboxConsumer


class EmbeddedBroker(OutboxConsumer):
    """Delivers by the queues that a message would reach on RabbitMQ."""

    _kind = "outbox"

    def declare(self) -> None:
        """Nothing to declare: the tables are there."""

    def check(self) -> None:
        """Nothing to check: the tables are there."""

    def depths(self) -> list[QueueDepth]:
        """No queue but the outbox, which the store tells of."""
        return []

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Put rows into the outbox. Returns for each None if it is stored, or its Refusal. Raises StoreError."""
        refusals = [self._refusal(row) for row in rows]
        with self._database.begin() as tx:
            outbox.put_rows(tx, [row for row, refusal in zip(rows, refusals, strict=True) if refusal is None])
        return refusals

    def close(self) -> None:
        """Nothing to close."""

    def _refusal(self, row: OutboxRow) -> Refusal | None:
        if self.topology.routes(row.exchange, row.routing_key):
            return None
        return Refusal(f"no queue takes it: exchange {row.exchange}, routing key {row.routing_key}", Fault.MESSAGE)

    def _take(self, deliver: Deliver) -> bool:
        """Claim due rows, of each destination as many as may be in hand. Returns False if there were none."""
        with self._database.begin() as tx:
            due = outbox.due_keys(tx)
        taken = [self._take_of(deliver, destination) for destination in due]
        return any(taken)

    def _take_of(self, deliver: Deliver, destination: Destination) -> bool:
        queues = [queue for queue in self.topology.routes(*destination) if queue.kind is not None]
        most = min((queue.prefetch - self._per_queue[queue.name] for queue in queues), default=500)
        if most <= 0 or self._room <= 0:
            return False
        with self._database.begin() as tx:
            claimed = outbox.claim(tx, most, outbox_consumer.CLAIM_SECONDS, size=self._room, only=destination)
            if not queues:
                # Only the platform's queue would take it; an embedding program reads results from the store.
                outbox.delete(tx, claimed.ids)
                return bool(claimed.ids)
        for row in self._read(claimed):
            self._deliver(deliver, row, claimed.token, queues)
        return bool(claimed.ids)

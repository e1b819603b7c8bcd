"""Exchanges, queues and bindings: RabbitMQ is declared by them, and the embedded broker routes by them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from messages import EXCHANGE_IN, EXCHANGE_OUT

EXCHANGE_DEAD = "connectwise.dead"
QUEUE_DEAD = "connectwise.dead.v1"
# The kind of QUEUE_DEAD and its handler pool; its messages are of any kind.
KIND_DEAD = "dead.v1"
DELIVERY_LIMIT = 20
# RabbitMQ 4 drops a message after 20 deliveries by default, and 3.10 does not know -1, so this stands for no limit.
NO_DELIVERY_LIMIT = 1_000_000

# The exchange by which each kind that has a handler comes.
HANDLED = {
    "connection.changed.v1": EXCHANGE_IN,
    "connection.check_requested.v1": EXCHANGE_IN,
    "mapping.changed.v1": EXCHANGE_IN,
    "mapping.check_requested.v1": EXCHANGE_IN,
    "push.requested.v1": EXCHANGE_IN,
    "push.cancel_requested.v1": EXCHANGE_IN,
    "catalog.requested.v1": EXCHANGE_IN,
    "revert.requested.v1": EXCHANGE_IN,
}

# Unacknowledged messages per worker and queue; more of kinds that are handled in batches.
PREFETCH = 50
PREFETCH_BATCHES = 100


def queue_of(kind: str) -> str:
    """Return the work queue of a kind: `push.requested.v1` → `connectwise.push-requested.v1`."""
    name, _, version = kind.rpartition(".")
    return f"connectwise.{name.replace('.', '-').replace('_', '-')}.{version}"


# The kind of each work queue, by the queue's logical name.
KINDS = {queue_of(kind): kind for kind in HANDLED}


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue; `kind` is that of its handler, None = the worker does not consume it."""

    name: str
    kind: str | None
    bindings: tuple[tuple[str, str], ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    prefetch: int = PREFETCH


@dataclass(frozen=True)
class Topology:
    """All exchanges and queues, with the broker's names. `prefix` separates one installation (or test) from another."""

    prefix: str = ""
    results_queue: str | None = "phin.connectwise-results.v1"

    def exchange(self, name: str) -> str:
        """Return the broker's name of a logical exchange; "" stays the default exchange."""
        return f"{self.prefix}{name}" if name else ""

    @property
    def obsolete_queues(self) -> Sequence[str]:
        """Return queues of versions before this one: nobody reads them, so they are deleted with their messages."""
        # By these came the results of lines and the wake-ups of partners, which the store has.
        return [f"{self.prefix}connectwise.{name}.v1" for name in ("sync-result", "partner-due")]

    @property
    def exchanges(self) -> Sequence[tuple[str, str]]:
        """(name, type) of each exchange."""
        return [
            (self.exchange(EXCHANGE_IN), "topic"),
            (self.exchange(EXCHANGE_OUT), "topic"),
            (self.exchange(EXCHANGE_DEAD), "fanout"),
        ]

    @property
    def queues(self) -> Sequence[Queue]:
        """Each queue with its bindings (exchange, routing key)."""
        prefetch = {"mapping.changed.v1": PREFETCH_BATCHES}
        work = [
            Queue(
                name=f"{self.prefix}{queue_of(kind)}",
                kind=kind,
                bindings=((self.exchange(exchange), kind),),
                arguments={
                    "x-queue-type": "quorum",
                    "x-delivery-limit": DELIVERY_LIMIT,
                    "x-dead-letter-exchange": self.exchange(EXCHANGE_DEAD),
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
                prefetch=prefetch.get(kind, PREFETCH),
            )
            for kind, exchange in HANDLED.items()
        ]
        dead = Queue(
            name=f"{self.prefix}{QUEUE_DEAD}",
            kind=KIND_DEAD,
            bindings=((self.exchange(EXCHANGE_DEAD), "#"),),
            arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
        )
        if self.results_queue is None:
            return [*work, dead]
        results = Queue(
            name=f"{self.prefix}{self.results_queue}",
            kind=None,
            bindings=((self.exchange(EXCHANGE_OUT), "#"),),
            arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
        )
        return [*work, dead, results]

    def routes(self, exchange: str, routing_key: str) -> list[Queue]:
        """Return the queues that a message to a logical exchange reaches; `""` addresses a queue by name."""
        if not exchange:
            return [queue for queue in self.queues if queue.name == f"{self.prefix}{routing_key}"]
        name = self.exchange(exchange)
        return [q for q in self.queues if any(e == name and key in {"#", routing_key} for e, key in q.bindings)]

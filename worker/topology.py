"""Exchanges, queues and bindings: one object that RabbitMQ is declared from and the local broker routes by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from messages import EXCHANGE_IN, EXCHANGE_OUT

EXCHANGE_DEAD = "connectwise.dead"
QUEUE_DEAD = "connectwise.dead.v1"
KIND_DEAD = "dead.v1"
"""The name of the lane of QUEUE_DEAD; its messages are of any kind."""
DELIVERY_LIMIT = 20
# 4.x drops after 20 deliveries by default, 3.10 does not know -1: a large number is "no limit" on both.
NO_DELIVERY_LIMIT = 1_000_000

HANDLED = {
    "connection.changed.v1": EXCHANGE_IN,
    "connection.check_requested.v1": EXCHANGE_IN,
    "mapping.changed.v1": EXCHANGE_IN,
    "mapping.check_requested.v1": EXCHANGE_IN,
    "push.requested.v1": EXCHANGE_IN,
    "push.cancel_requested.v1": EXCHANGE_IN,
    "catalog.requested.v1": EXCHANGE_IN,
    "revert.requested.v1": EXCHANGE_IN,
    "sync.result.v1": EXCHANGE_OUT,
}
"""Each kind that has a handler, and the exchange it comes by."""

# Unacknowledged messages per worker and queue; more of those that are handled together.
PREFETCH = 50
PREFETCH_TOGETHER = 100


def queue_of(kind: str) -> str:
    """The work queue of a kind: `push.requested.v1` → `connectwise.push-requested.v1`."""
    name, _, version = kind.rpartition(".")
    return f"connectwise.{name.replace('.', '-').replace('_', '-')}.{version}"


KINDS = {queue_of(kind): kind for kind in HANDLED}
"""The kind that each work queue is for, by the queue's logical name."""


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue; `kind` is what its consumer handles, None = we do not consume it."""

    name: str
    kind: str | None
    bindings: tuple[tuple[str, str], ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    prefetch: int = PREFETCH


@dataclass(frozen=True)
class Topology:
    """All of it, with names as the broker knows them. `prefix` sets one installation (or test) apart from another."""

    prefix: str = ""
    results_queue: str | None = "phin.connectwise-results.v1"

    def exchange(self, name: str) -> str:
        """A logical exchange's name on the broker; "" stays the default exchange."""
        return f"{self.prefix}{name}" if name else ""

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
        prefetch = {
            "mapping.changed.v1": PREFETCH_TOGETHER,
            "sync.result.v1": PREFETCH_TOGETHER,
        }
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
        """The queues that a message to a logical exchange reaches; `""` addresses a queue by its logical name."""
        if not exchange:
            return [queue for queue in self.queues if queue.name == f"{self.prefix}{routing_key}"]
        name = self.exchange(exchange)
        return [q for q in self.queues if any(e == name and key in {"#", routing_key} for e, key in q.bindings)]

"""A message in hand, and the promises that both brokers keep (one conformance suite holds them to these).

A broker delivers a message again until it is settled `DONE`; one that nobody can take is refused aloud; order is not
promised; nothing is lost when a process dies; a message may be released for ever and is not given up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from threading import Event
from typing import Any, Protocol

from store.outbox import OutboxRow
from worker.topology import Topology


class Settlement(Enum):
    """The end of a delivery: it is done with, it failed, or (AMQP 1.0's word) it was not the message's fault."""

    ACK = "done"
    REQUEUE = "again"
    RELEASE = "released"


@dataclass(frozen=True)
class Delivery:
    """Bytes as they came. `kind` is what its queue is for; `properties` are AMQP's by name, with `headers`.

    `delivery_count`: how many deliveries of it have failed, as the broker counts; most brokers count released ones too.
    """

    kind: str
    queue: str
    body: bytes
    properties: Mapping[str, Any]
    redelivered: bool
    delivery_count: int = 0

    @property
    def message_id(self) -> str | None:
        """The AMQP message id, if it is a text."""
        value = self.properties.get("message_id")
        return value if isinstance(value, str) else None


class Fault(Enum):
    """The cause of the broker not having a message."""

    MESSAGE = "message"
    """It goes nowhere: tried a few times, then a dead letter."""
    CHANNEL = "channel"
    """It cannot be carried, and closes the channel or the connection: the same, and nothing else beside it."""
    QUEUE = "queue"
    """Its queue is full, or has failed: whatever goes there waits."""
    BROKER = "broker"
    """It is away, or takes nothing now: everything waits."""


@dataclass(frozen=True)
class Refusal:
    """The reason that the broker does not have a message, in words for an operator."""

    why: str
    fault: Fault


@dataclass(frozen=True, eq=False)
class Settle:
    """Takes the verdict on a delivery: called once, from any thread.

    `lost` is set when the connection that delivered it is: it comes again, so it is not worth to begin with it.
    """

    settled: Callable[["Settle", Settlement], None]
    lost: Event = field(default_factory=Event)

    def __call__(self, settlement: Settlement) -> None:
        """Say what becomes of it."""
        self.settled(self, settlement)


Deliver = Callable[[Delivery, Settle], None]
"""Takes a delivery, and settles it once. Must not block."""


def never() -> bool:
    """Consume without a pause."""
    return False


class BrokerUnavailable(Exception):
    """The broker cannot be reached or does not answer: pause, then do the same again."""


class TopologyMismatch(Exception):
    """The broker has a queue or exchange of this name with other arguments; the text says which and what to do."""


class Broker(Protocol):
    """RabbitMQ, or the outbox itself."""

    topology: Topology

    def declare(self) -> None:
        """Make exchanges and queues that are not there. Raises BrokerUnavailable or TopologyMismatch."""

    def check(self) -> None:
        """Look whether they are there, changing nothing. Raises BrokerUnavailable or TopologyMismatch."""

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Hand these over; for each, None = it is safe there, or why it is not."""

    def close(self) -> None:
        """Give back what publishing holds."""

    def consume(self, deliver: Deliver, stop: Event, is_paused: Callable[[], bool] = never) -> None:
        """Deliver until `stop` is set and all that was delivered is settled or void. Reconnects by itself.

        While `is_paused` nothing is delivered. What a lost connection delivered is not delivered again before it is
        settled.
        """

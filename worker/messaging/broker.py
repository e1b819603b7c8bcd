"""The interface of both brokers, RabbitMQ and the embedded one (tests/contract/test_brokers.py holds them to it).

A broker delivers a message again until its settlement is ACK. A message that no queue takes is refused. Order is not
guaranteed. No message is lost when a process dies. A message may be released any number of times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from threading import Event
from typing import Any, Protocol

from store.outbox import OutboxRow
from worker.topology import Topology


class Settlement(Enum):
    """The end of a delivery: it was handled, it failed, or (RELEASE, as in AMQP 1.0) it could not be tried."""

    ACK = "done"
    REQUEUE = "again"
    RELEASE = "released"


@dataclass(frozen=True)
class Delivery:
    """A message as bytes. `kind` is that of its queue; `properties` are AMQP's by name, with `headers`.

    `delivery_count` is the broker's number of failed deliveries; RabbitMQ before 4.3 counts released ones too.
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


def trace_context(properties: Mapping[str, Any]) -> str | None:
    """Return the traceparent in the headers of a message's properties."""
    value = (properties.get("headers") or {}).get("traceparent")
    return value if isinstance(value, str) else None


class Fault(Enum):
    """The cause of a message not being published."""

    MESSAGE = "message"
    """No queue takes it: it is tried a few times, then it is a dead letter."""
    CHANNEL = "channel"
    """It closes the channel or the connection: the same, but it is published alone."""
    QUEUE = "queue"
    """Its queue is full, or has failed: all messages to that queue wait."""
    BROKER = "broker"
    """The broker is away, or takes nothing now: all messages wait."""


@dataclass(frozen=True)
class Refusal:
    """A message was not published. `why` is written for an operator."""

    why: str
    fault: Fault


@dataclass(frozen=True, eq=False)
class Settle:
    """Settles a delivery: called once, from any thread.

    `lost` is set when its connection is lost: it will be redelivered, so its handling need not begin.
    """

    settled: Callable[["Settle", Settlement], None]
    lost: Event = field(default_factory=Event)

    def __call__(self, settlement: Settlement) -> None:
        """Settle the delivery."""
        self.settled(self, settlement)


Deliver = Callable[[Delivery, Settle], None]
"""Takes a delivery and settles it once, then or later. Must not block."""


def never() -> bool:
    """Return False: consume without a pause."""
    return False


class BrokerUnavailable(Exception):
    """The broker cannot be reached or does not answer; the same may work after a pause."""


class TopologyMismatch(Exception):
    """The broker has a queue or exchange of this name with other arguments; the text says which and what to do."""


@dataclass(frozen=True)
class QueueDepth:
    """A queue with its ready messages and its consumers; `kind` None = the platform reads it."""

    name: str
    kind: str | None
    messages: int
    consumers: int


class Broker(Protocol):
    """RabbitMQ, or the outbox itself."""

    topology: Topology

    def declare(self) -> None:
        """Make exchanges and queues that are missing. Raises BrokerUnavailable or TopologyMismatch."""

    def check(self) -> None:
        """Check that exchanges and queues are there, changing nothing. Raises BrokerUnavailable or TopologyMismatch."""

    def depths(self) -> list[QueueDepth]:
        """Return the depth of each queue; empty without a broker. Raises BrokerUnavailable or TopologyMismatch."""

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Publish rows. Returns for each None if the broker has it safely, or its Refusal."""

    def close(self) -> None:
        """Close the connection that publishes."""

    def consume(self, deliver: Deliver, stop: Event, is_paused: Callable[[], bool] = never) -> None:
        """Deliver until `stop` is set and all deliveries are settled or their connection is lost. Reconnects by itself.

        While `is_paused` nothing is delivered. A delivery of a lost connection is settled before its redelivery comes.
        """

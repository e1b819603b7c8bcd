"""An exchange and queue of a test's own on a real RabbitMQ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pika


@dataclass
class Broker:
    """An exchange of our own, with a queue for every `mapping.changed.v1`."""

    channel: Any
    exchange: str
    queue: str

    def take(self) -> list[tuple[Any, bytes]]:
        """Return the properties and body of every message in the queue, and empty it."""
        taken: list[tuple[Any, bytes]] = []
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                return taken
            taken.append((properties, body))

    def taken_ids(self) -> list[str]:
        """Return the ids of every message in the queue, in order, and empty it."""
        return [properties.message_id for properties, _ in self.take()]

    def holds(self, count: int) -> bool:
        """True if so many messages are in the queue."""
        held: int = self.channel.queue_declare(self.queue, passive=True).method.message_count
        return held == count


@contextmanager
def declared(amqp_url: str) -> Iterator[Broker]:
    """Declare the exchange and queue, and delete them afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(name, name, "mapping.changed.v1")
    try:
        yield Broker(channel, name, name)
    finally:
        channel.queue_delete(name)
        channel.exchange_delete(name)
        connection.close()

"""Phin's side: publishes until it is confirmed, and keeps every message that the worker sends."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import pika

from messages import EXCHANGE_IN, EXCHANGE_OUT, Message, Publisher, SyncResult, decode
from messages.publish_errors import Refused, Unreachable
from tests.support.waiting import within
from worker.topology import Topology

AGAIN_SECONDS = 0.5


class Platform:
    """A context manager: consumes the results queue inside it, and reconnects by itself. Both lists are in order."""

    def __init__(self, url: str, queue: str, exchange: str = EXCHANGE_IN) -> None:
        self._url, self._queue = url, queue
        self._publisher = Publisher(url, exchange=exchange, connect_timeout=within(3.0), confirm_timeout=within(5.0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._consume, name="platform")
        self.published: list[Message] = []
        self.received: list[Message] = []
        self.repeated = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._publisher.close()

    def publish(self, messages: Iterable[Message]) -> None:
        """Publish in order, again and again what is not confirmed."""
        ordered = list(messages)
        self.published += ordered
        while ordered:
            try:
                self._publisher.publish_many(ordered)
            except (Refused, Unreachable) as error:
                ordered = list(error.unconfirmed)
                self.repeated += 1
                self._stop.wait(AGAIN_SECONDS)
            else:
                return

    def final_ids(self) -> dict[tuple[str, str], set[str]]:
        """The distinct ids of final results, by (push id, company id)."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for message in list(self.received):
            if isinstance(message, SyncResult) and message.status != "retrying":
                found[message.push_id, message.company_id].add(str(message.id))
        return found

    def ids_of(self, kind: str) -> dict[str, set[str]]:
        """The distinct ids of the messages of a kind, by push id."""
        found: dict[str, set[str]] = defaultdict(set)
        for message in list(self.received):
            if message.type == kind:
                found[message.model_dump()["push_id"]].add(str(message.id))
        return found

    def _consume(self) -> None:
        while not self._stop.is_set():
            # A ValueError is pika's for a socket that dies just when it is connected.
            with suppress(pika.exceptions.AMQPError, OSError, ValueError), self._connected() as connection:
                self._take(connection)
            self._stop.wait(AGAIN_SECONDS)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self._url))
        try:
            with connection:
                yield connection
        finally:
            # pika leaves the sockets of its event loop open if it first meets the end of a connection at its next use.
            connection._cleanup()

    def _take(self, connection: Any) -> None:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        for method, properties, body in channel.consume(self._queue, inactivity_timeout=0.05):
            if method is not None:
                self.received.append(decode(body, type=properties.type, content_type=properties.content_type))
                channel.basic_ack(method.delivery_tag)
            elif self._stop.is_set():
                channel.cancel()
                return


@contextmanager
def nobody_reads(url: str, topology: Topology) -> Iterator[None]:
    """A queue in the platform's place that takes every output and keeps the last few."""
    name = f"{topology.prefix}nobody"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, arguments={"x-max-length": 100})
        channel.queue_bind(name, topology.exchange(EXCHANGE_OUT), "#")
    yield
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(name)

"""Consuming: one thread takes deliveries from all work queues and settles them when their verdicts come."""

from collections import deque
from contextlib import suppress
from threading import Event
from typing import Any

from amqp import exceptions as amqp_errors
from kombu.connection import Connection

from worker.broker.connection import CONNECTION_ERRORS, Server, abandon, connect, declare
from worker.delivery import Deliver, Delivery, Verdict
from worker.topology import Queue, Topology

# How long the thread waits for the network before it settles what is done meanwhile.
POLL_SECONDS = 0.01


class Consumer:
    """The consuming side of one connection. Its delivery tags die with it, so verdicts that come later are dropped."""

    def __init__(self, server: Server, topology: Topology, deliver: Deliver) -> None:
        self._deliver = deliver
        self._queues = {queue.name: queue for queue in topology.queues if queue.kind is not None}
        self._prefix = topology.prefix
        self._settled: deque[tuple[Any, int, Verdict]] = deque()
        self._unsettled = 0
        self._connection: Connection = connect(server)
        try:
            declare(self._connection, topology)
            self._tags = [self._subscribe(queue) for queue in self._queues.values()]
        except BaseException:
            self.abandon()
            raise

    def run(self, stop: Event) -> None:
        """Take and settle until `stop`; then take nothing more and settle what is out. Raises py-amqp's errors."""
        while not stop.is_set():
            self._turn()
        for channel, tag in self._tags:
            channel.basic_cancel(tag)
        while self._unsettled:
            self._turn()

    def close(self) -> None:
        """Close the connection."""
        with suppress(*CONNECTION_ERRORS, amqp_errors.AMQPError):
            self._connection.release()

    def abandon(self) -> None:
        """Drop the connection; what is not settled is delivered again, here or elsewhere."""
        abandon(self._connection)

    def _subscribe(self, queue: Queue) -> tuple[Any, str]:
        # A channel each: the prefetch is the queue's own, and an error of one names its queue.
        channel: Any = self._connection.channel()
        channel.auto_decode = False  # bytes as they came, whatever the sender says of their encoding
        channel.basic_qos(0, queue.prefetch, False)  # noqa: FBT003 - AMQP's positional flag
        tag = channel.basic_consume(queue.name, callback=lambda message: self._take(queue, channel, message))
        return channel, tag

    def _take(self, queue: Queue, channel: Any, message: Any) -> None:  # noqa: ANN401 - py-amqp's
        tag = message.delivery_tag
        properties = {name: value for name, value in message.properties.items() if name != "application_headers"}
        delivery = Delivery(
            kind=queue.kind or "",
            queue=queue.name.removeprefix(self._prefix),
            # py-amqp makes a text of a body without a frame: the empty one.
            body=message.body.encode() if isinstance(message.body, str) else bytes(message.body),
            properties=properties | {"headers": message.properties.get("application_headers") or {}},
            redelivered=bool(message.delivery_info.get("redelivered")),
        )
        self._unsettled += 1
        self._deliver(delivery, lambda verdict: self._settled.append((channel, tag, verdict)))

    def _turn(self) -> None:
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=POLL_SECONDS)
        self._connection.heartbeat_check()
        while self._settled:
            channel, tag, verdict = self._settled.popleft()
            self._unsettled -= 1
            if verdict is Verdict.DONE:
                channel.basic_ack(tag)
            else:
                channel.basic_reject(tag, requeue=True)

"""The broker that production uses; see `worker/messaging/broker.py` for its interface."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock

from amqp import exceptions as amqp_errors

from store.outbox import OutboxRow
from worker.health import Readiness
from worker.messaging.broker import BrokerUnavailable, Deliver, QueueDepth, Refusal, TopologyMismatch, never
from worker.messaging.rabbitmq import connection as on
from worker.messaging.rabbitmq.consuming import Consumer
from worker.messaging.rabbitmq.faults import RowPublisher
from worker.messaging.rabbitmq.unsettled import Unsettled
from worker.topology import Topology

RECONNECT_FIRST, RECONNECT_MOST = 0.5, 2.0
# Somebody has to change a queue before another try can succeed.
MISMATCH_PAUSE = 10.0


class RabbitBroker:
    """RabbitMQ at a URL. Declares the topology at every connect, idempotently, if its user may; else it must be there.

    With amqps the certificate and its host name are verified, against `ca_file` (PEM) or the system's authorities.
    """

    def __init__(
        self, url: str, topology: Topology, ca_file: Path | None = None, *, readiness: Readiness | None = None
    ) -> None:
        self.topology = topology
        self._server = on.Server(url, ca_file)
        self._readiness = readiness or Readiness()
        self._lock = Lock()
        self._publisher = RowPublisher(self._server, topology)

    def declare(self) -> None:
        """Declare exchanges, queues and bindings. Raises BrokerUnavailable or TopologyMismatch."""
        with on.translated(self._server), on.connect(self._server) as connection:
            on.declare(connection, self.topology)

    def check(self) -> None:
        """Check that exchanges and queues are there. Raises BrokerUnavailable or TopologyMismatch."""
        with on.translated(self._server), on.connect(self._server) as connection:
            on.check(connection, self.topology)

    def depths(self) -> list[QueueDepth]:
        """Read what waits in each queue. Raises BrokerUnavailable or TopologyMismatch."""
        with on.translated(self._server), on.connect(self._server) as connection:
            return on.depths(connection, self.topology)

    def delete(self) -> None:
        """Delete exchanges, queues and their messages. Raises BrokerUnavailable."""
        with on.translated(self._server), on.connect(self._server) as connection:
            on.delete(connection, self.topology)

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Publish with pipelined confirms. Returns for each row None if RabbitMQ has it safely, or its Refusal."""
        with self._lock:
            return self._publisher.publish(rows)

    def close(self) -> None:
        """Close the publishing connection."""
        with self._lock:
            self._publisher.close()

    def consume(self, deliver: Deliver, stop: Event, is_paused: Callable[[], bool] = never) -> None:
        """Deliver until `stop` is set and all deliveries are settled. Reconnects by itself, with growing pauses.

        While paused it has no consumer at RabbitMQ, which gets back the messages that handlers release.
        """
        pause, unsettled = RECONNECT_FIRST, Unsettled(deliver)

        def is_held() -> bool:
            self._readiness.tick("broker")
            return is_paused()

        while not stop.is_set():
            consumer = None
            self._readiness.tick("broker")
            try:
                with on.translated(self._server):
                    consumer = Consumer(self._server, self.topology, unsettled, self.publish)
                    self._readiness.fine("broker")
                    pause = RECONNECT_FIRST
                    consumer.run(stop, is_held)
                    consumer.close()
            except Exception as error:  # noqa: BLE001 - readiness tells it
                if consumer is not None:
                    consumer.abandon()
                unsettled.lose()
                expected = isinstance(error, BrokerUnavailable | TopologyMismatch | amqp_errors.AMQPError)
                self._readiness.trouble("broker", error, expected=expected)
                stop.wait(MISMATCH_PAUSE if isinstance(error, TopologyMismatch) else pause)
                pause = min(pause * 2, RECONNECT_MOST)

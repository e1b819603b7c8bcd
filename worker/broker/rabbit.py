"""The broker that production uses; see `delivery.Broker` for what it promises."""

from collections.abc import Sequence
from threading import Event, Lock

import structlog
from amqp import exceptions as amqp_errors

from store.outbox import OutboxRow
from worker.broker import connection as on
from worker.broker.consuming import Consumer
from worker.broker.publishing import ConfirmedChannel
from worker.delivery import BrokerUnavailable, Deliver, TopologyMismatch
from worker.topology import Topology

PUBLISHED_AT_ONCE = 200
RECONNECT_FIRST, RECONNECT_MOST = 0.5, 15.0

log = structlog.get_logger()


class RabbitBroker:
    """RabbitMQ at a URL. Declares the topology at every connect, idempotently."""

    def __init__(self, url: str, topology: Topology) -> None:
        self.topology = topology
        self._url = url
        self._lock = Lock()
        self._channel: ConfirmedChannel | None = None
        self._trouble: str | None = "not connected yet"

    @property
    def trouble(self) -> str | None:
        """Why nothing is being consumed now; None = it is."""
        return self._trouble

    def declare(self) -> None:
        """Declare exchanges, queues and bindings. Raises BrokerUnavailable or TopologyMismatch."""
        with on.translated(self._url), on.connect(self._url) as connection:
            on.declare(connection, self.topology)

    def check(self) -> None:
        """Look whether they are there. Raises BrokerUnavailable or TopologyMismatch."""
        with on.translated(self._url), on.connect(self._url) as connection:
            on.check(connection, self.topology)

    def delete(self) -> None:
        """Remove them, with all messages. Raises BrokerUnavailable."""
        with on.translated(self._url), on.connect(self._url) as connection:
            on.delete(connection, self.topology)

    def publish(self, rows: Sequence[OutboxRow]) -> list[str | None]:
        """Publish with pipelined confirms; for each, None = it is safe, or why not. Raises BrokerUnavailable."""
        refusals: list[str | None] = []
        with self._lock:
            for start in range(0, len(rows), PUBLISHED_AT_ONCE):
                refusals += self._publish(rows[start : start + PUBLISHED_AT_ONCE])
        return refusals

    def close(self) -> None:
        """Close the publishing connection."""
        with self._lock:
            self._drop()

    def consume(self, deliver: Deliver, stop: Event) -> None:
        """Deliver until `stop` is set and what was delivered is settled. Reconnects by itself, with growing pauses."""
        pause = RECONNECT_FIRST
        while not stop.is_set():
            consumer = None
            try:
                with on.translated(self._url):
                    consumer = Consumer(self._url, self.topology, deliver)
                    self._trouble = None
                    log.info("broker.connected")
                    pause = RECONNECT_FIRST
                    consumer.run(stop)
            except Exception as error:
                self._trouble = str(error) or type(error).__name__
                expected = isinstance(error, BrokerUnavailable | TopologyMismatch | amqp_errors.AMQPError)
                log.warning("broker.trouble", error=self._trouble, retry_in=pause, exc_info=not expected)
                stop.wait(pause)
                pause = min(pause * 2, RECONNECT_MOST)
            finally:
                if consumer is not None:
                    consumer.close()
        self._trouble = "stopped"

    def _publish(self, rows: Sequence[OutboxRow]) -> list[str | None]:
        idle = self._channel is not None
        try:
            with on.translated(self._url):
                self._channel = self._channel or ConfirmedChannel(self._url, self.topology)
                return self._channel.publish(rows)
        except BrokerUnavailable:
            self._drop()
            if idle:
                # An idle connection may have been closed without our noticing; ids make a repeat harmless.
                return self._publish(rows)
            raise
        except Exception as error:  # noqa: BLE001 - one of them is at fault: each alone shows which
            self._drop()
            if len(rows) == 1:
                return [str(error) or type(error).__name__]
            return [refusal for row in rows for refusal in self._publish([row])]

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

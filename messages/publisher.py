"""Publish messages to RabbitMQ and know that the broker has them.

pika's one door is `broker_connection.py`, which the first publisher loads.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from messages.envelope import Message
from messages.publish_errors import Failure, Unreachable
from messages.windows import windows
from messages.wire import EXCHANGE_IN, Wire, encode

if TYPE_CHECKING:
    from messages.broker_connection import BrokerConnection

_PIKA_IS_FIRST = 1.0


class Publisher:
    """Publishes to one exchange: persistent, mandatory, confirmed. Safe to use from several threads.

    Connects at the first publish and again whenever the connection is gone; an idle one is kept by heartbeats. Use it
    as a context manager, or `close` it at the end.
    """

    def __init__(
        self,
        url: str,
        *,
        exchange: str = EXCHANGE_IN,
        connect_timeout: float = 10.0,
        confirm_timeout: float = 10.0,
        ca_file: str | Path | None = None,
    ) -> None:
        """Take an `amqp://` or `amqps://` URL and timeouts in seconds; connects to nothing yet.

        With amqps the certificate and its host name are verified, against `ca_file` (PEM) or the system's authorities.
        Raises ValueError for a URL that is none, OSError for an unreadable `ca_file`.
        """
        from messages.broker_connection import connection_parameters

        self._parameters = connection_parameters(url, connect_timeout, confirm_timeout, ca_file)
        self._exchange = exchange
        self._connect_timeout = connect_timeout
        self._confirm_timeout = confirm_timeout
        self._connection: BrokerConnection | None = None
        self._lock = threading.Lock()

    def publish(self, message: Message) -> None:
        """Return when the broker has the message. Raises a PublishError if it does not, or does not say so."""
        self.publish_many([message])

    def publish_many(self, messages: Iterable[Message]) -> None:
        """Publish in order, many on their way at once; return when the broker has all of them.

        Stops at the first that fail, with a PublishError of the class of the first; what comes after is not sent.
        A message that is too large is a ContractError before anything is sent.
        """
        ordered = list(messages)
        wires = [encode(message) for message in ordered]
        outcomes: list[Failure | None] = []
        for window in windows(wires):
            outcomes += self._deliver(window)
            first = next((failure for failure in outcomes if failure), None)
            if first:
                tried = list(zip(ordered, outcomes, strict=False))
                confirmed = [message for message, failure in tried if not failure]
                unconfirmed = [message for message, failure in tried if failure] + ordered[len(tried) :]
                raise first.error(first.reason, confirmed=confirmed, unconfirmed=unconfirmed)

    def close(self) -> None:
        """Disconnect. Publishing afterwards connects again."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close("the publisher was closed")
            connection.join(self._connect_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _deliver(self, wires: Sequence[Wire]) -> list[Failure | None]:
        outcomes = self._attempt(wires)
        again = [position for position, failure in enumerate(outcomes) if failure and failure.disconnected]
        if again:
            # Perhaps it broke long ago, while idle: once more on a new connection, with the same ids.
            for position, outcome in zip(again, self._attempt([wires[position] for position in again]), strict=True):
                outcomes[position] = outcome
        return outcomes

    def _attempt(self, wires: Sequence[Wire]) -> list[Failure | None]:
        connection = self._connected()
        # pika gives up connecting by itself at its stack_timeout; closing it in that same moment confuses it.
        if failure := connection.opened(self._connect_timeout + _PIKA_IS_FIRST):
            return [replace(failure, disconnected=False)] * len(wires)
        confirmations = connection.send(wires)
        late = wait(confirmations, self._confirm_timeout).not_done
        too_late = Failure(Unreachable, f"no confirm within {self._confirm_timeout:g} s{connection.blocked}")
        if late:
            connection.close("given up: a confirm was too late")
        return [too_late if confirmation in late else confirmation.result() for confirmation in confirmations]

    def _connected(self) -> "BrokerConnection":
        from messages.broker_connection import BrokerConnection

        with self._lock:
            if self._connection is None or not self._connection.is_usable():
                self._connection = BrokerConnection(self._parameters, self._exchange)
                self._connection.start()
            return self._connection

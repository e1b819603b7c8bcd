"""Publish messages to RabbitMQ and know that the broker has them."""

import ssl
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pika

from messages.envelope import Message
from messages.publish_errors import Failure, Refused, Unreachable, Unroutable
from messages.windows import windows
from messages.wire import EXCHANGE_IN, Wire, encode

_HEARTBEAT_SECONDS = 30
_PIKA_IS_FIRST = 1.0


_Confirmation = Future[Failure | None]


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
        self._parameters = _parameters(url, connect_timeout, confirm_timeout, ca_file)
        self._exchange = exchange
        self._connect_timeout = connect_timeout
        self._confirm_timeout = confirm_timeout
        self._connection: _Connection | None = None
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

    def _connected(self) -> "_Connection":
        with self._lock:
            if self._connection is None or not self._connection.is_usable():
                self._connection = _Connection(self._parameters, self._exchange)
                self._connection.start()
            return self._connection


class _Connection(threading.Thread):
    """One connection and channel to the broker, for its life; pika runs on this thread only."""

    def __init__(self, parameters: pika.ConnectionParameters, exchange: str) -> None:
        super().__init__(name=f"publisher {exchange}", daemon=True)
        self.blocked = ""
        self._exchange = exchange
        self._address = f"{parameters.host}:{parameters.port}"
        self._pika = pika.SelectConnection(
            parameters,
            on_open_callback=self._on_connection_open,
            on_open_error_callback=self._on_connection_lost,
            on_close_callback=self._on_connection_lost,
        )
        self._channel: pika.channel.Channel
        self._open: Future[Failure | None] = Future()
        self._delivery_tag = 0
        self._returned: Counter[str] = Counter()
        # Guards what follows: publishing threads add to `_unsent`, `_fail` empties both.
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._unsent: deque[tuple[Wire, _Confirmation]] = deque()
        self._unconfirmed: dict[int, tuple[str, _Confirmation]] = {}

    # For publishing threads.

    def is_usable(self) -> bool:
        """True while it is up or coming up; after a fork its thread is not alive in the child."""
        return self._failure is None and self.is_alive()

    def opened(self, timeout: float) -> Failure | None:
        """Wait until messages can be sent, or for the failure to get there."""
        if wait([self._open], timeout).not_done:
            self.close(f"no answer from the broker at {self._address} within {timeout:g} s")
        return self._open.result()

    def send(self, wires: Sequence[Wire]) -> list[_Confirmation]:
        """Put messages on their way; each future gets None once the broker has the message."""
        confirmations: list[_Confirmation] = [Future() for _ in wires]
        with self._lock:
            if self._failure:
                for confirmation in confirmations:
                    confirmation.set_result(self._failure)
            else:
                self._unsent.extend(zip(wires, confirmations, strict=True))
                self._pika.ioloop.add_callback_threadsafe(self._send)
        return confirmations

    def close(self, reason: str) -> None:
        """Hang up; other threads' messages that are on their way may try another connection."""
        self._fail(Failure(Unreachable, reason, disconnected=True))
        self._pika.ioloop.add_callback_threadsafe(self._hang_up)

    # On this thread.

    def run(self) -> None:
        """Run pika until the connection is gone."""
        try:
            with suppress(ValueError):  # pika's, for a socket that dies just when it is connected
                self._pika.ioloop.start()
        finally:
            self._fail(Failure(Unreachable, f"the connection to {self._address} ended"))
            self._pika.ioloop.close()

    def _on_connection_open(self, connection: pika.SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: pika.channel.Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=self._on_confirms_on)

    def _on_confirms_on(self, _frame: pika.frame.Method) -> None:
        with self._lock:
            if not self._open.done():
                self._open.set_result(None)

    def _on_blocked(self, _connection: pika.SelectConnection, frame: pika.frame.Method) -> None:
        self.blocked = f": the broker is blocked ({frame.method.reason})"

    def _on_unblocked(self, _connection: pika.SelectConnection, _frame: pika.frame.Method) -> None:
        self.blocked = ""

    def _send(self) -> None:
        with self._lock:
            wires = [wire for wire, _ in self._unsent]
            while self._unsent:
                wire, confirmation = self._unsent.popleft()
                self._delivery_tag += 1
                self._unconfirmed[self._delivery_tag] = (wire.properties.message_id, confirmation)
        for wire in wires:
            properties = pika.BasicProperties(**asdict(wire.properties))
            self._channel.basic_publish(self._exchange, wire.routing_key, wire.body, properties, mandatory=True)

    def _on_return(
        self, _channel: pika.channel.Channel, _method: object, properties: pika.BasicProperties, _body: bytes
    ) -> None:
        # The broker acks an unroutable message too, after this.
        self._returned[properties.message_id] += 1

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        refused = isinstance(frame.method, pika.spec.Basic.Nack)
        last: int = frame.method.delivery_tag
        with self._lock:
            tags = [tag for tag in self._unconfirmed if tag <= last] if frame.method.multiple else [last]
            for message_id, confirmation in (self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed):
                confirmation.set_result(self._outcome(message_id, refused=refused))

    def _outcome(self, message_id: str, *, refused: bool) -> Failure | None:
        if refused:
            return Failure(Refused, "the broker refused the message: its queue may be full")
        if self._returned[message_id]:
            self._returned[message_id] -= 1
            return Failure(Unroutable, f"no queue takes the message from the exchange {self._exchange!r}")
        return None

    def _on_channel_closed(self, _channel: pika.channel.Channel, error: Exception) -> None:
        if isinstance(error, pika.exceptions.ChannelClosedByBroker):
            kind = Unroutable if error.reply_code == 404 else Refused
            self._fail(Failure(kind, f"the broker said {error.reply_text}"))
            self._hang_up()

    def _on_connection_lost(self, _connection: pika.SelectConnection, error: Exception) -> None:
        self._fail(Failure(Unreachable, f"{self._address}: {_explained(error)}", disconnected=True))
        self._pika.ioloop.stop()

    def _hang_up(self) -> None:
        if not (self._pika.is_closing or self._pika.is_closed):
            self._pika.close()

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            self._failure = self._failure or failure
            open_ones = [confirmation for _, confirmation in (*self._unsent, *self._unconfirmed.values())]
            self._unsent.clear()
            self._unconfirmed.clear()
            if not self._open.done():
                self._open.set_result(self._failure)
            for confirmation in open_ones:
                confirmation.set_result(self._failure)


def _parameters(
    url: str, connect_timeout: float, confirm_timeout: float, ca_file: str | Path | None
) -> pika.ConnectionParameters:
    if not url.startswith(("amqp://", "amqps://")):
        raise ValueError("the broker URL must start with amqp:// or amqps://")
    try:
        parameters = pika.URLParameters(url)
    except (TypeError, ValueError):
        # Their texts may hold the password.
        raise ValueError("the broker URL cannot be read") from None
    if url.startswith("amqps://"):
        context = ssl.create_default_context(cafile=ca_file)
        parameters.ssl_options = pika.SSLOptions(context, server_hostname=parameters.host)
    parameters.client_properties = {"connection_name": "phin publisher"}
    parameters.heartbeat = _HEARTBEAT_SECONDS
    parameters.socket_timeout = connect_timeout
    parameters.stack_timeout = connect_timeout
    parameters.blocked_connection_timeout = confirm_timeout
    return parameters


def _explained(error: BaseException) -> str:
    if isinstance(error, pika.exceptions.AuthenticationError | pika.exceptions.ProbableAuthenticationError):
        return "the broker refused the user name or the password"
    if isinstance(error, pika.exceptions.ProbableAccessDeniedError):
        return "the broker refused the virtual host: it does not exist, or the user may not use it"
    # pika wraps the cause in errors of its connecting, each in its own way.
    while causes := getattr(error, "exceptions", None) or [
        cause for cause in (*error.args, getattr(error, "exception", None)) if isinstance(cause, Exception)
    ]:
        error = causes[-1]
    if "Timeout" in f"{type(error).__name__} {error}":
        return "no answer in time"
    return str(error) or type(error).__name__

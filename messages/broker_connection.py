"""A publisher's connection to RabbitMQ, by pika, which nothing else imports (an import contract holds that).

Apart from `publisher.py`, and loaded by the first publisher: whoever only reads messages needs no pika.
"""

import ssl
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pika

from messages.publish_errors import Failure, Refused, Unreachable, Unroutable
from messages.wire import Wire

HEARTBEAT_SECONDS = 30

Confirmation = Future[Failure | None]
"""None once the broker has the message."""


class BrokerConnection(threading.Thread):
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
        self._unsent: deque[tuple[Wire, Confirmation]] = deque()
        self._unconfirmed: dict[int, tuple[str, Confirmation]] = {}

    # For publishing threads.

    def is_usable(self) -> bool:
        """True while it is up or coming up; after a fork its thread is not alive in the child."""
        return self._failure is None and self.is_alive()

    def opened(self, timeout: float) -> Failure | None:
        """Wait until messages can be sent, or for the failure to get there."""
        if wait([self._open], timeout).not_done:
            self.close(f"no answer from the broker at {self._address} within {timeout:g} s")
        return self._open.result()

    def send(self, wires: Sequence[Wire]) -> list[Confirmation]:
        """Put messages on their way; each future gets None once the broker has the message."""
        confirmations: list[Confirmation] = [Future() for _ in wires]
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


def connection_parameters(
    url: str, connect_timeout: float, confirm_timeout: float, ca_file: str | Path | None
) -> pika.ConnectionParameters:
    """Return pika's parameters for the arguments of a Publisher, and its errors."""
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
    parameters.heartbeat = HEARTBEAT_SECONDS
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

"""Connections to RabbitMQ, the declaration of the topology, and RabbitMQ's errors as ours."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from amqp import exceptions as amqp_errors
from kombu.connection import Connection

from worker.messaging.broker import BrokerUnavailable, QueueDepth, TopologyMismatch
from worker.topology import Topology

HEARTBEAT = 30
CONNECT_TIMEOUT = 5.0

# Raised by a lost or blocked connection; py-amqp lets some errors of the socket pass as they are.
CONNECTION_ERRORS = (OSError, amqp_errors.ConnectionError, amqp_errors.RecoverableChannelError)


class NotPermitted(TopologyMismatch):
    """RabbitMQ's user has no right to declare this."""


class Server(NamedTuple):
    """A RabbitMQ by its URL. With amqps `ca_file` (PEM) is trusted instead of the system's authorities."""

    url: str
    ca_file: Path | None = None

    @property
    def place(self) -> str:
        """Host and port, without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


def connect(server: Server, on_blocked: Callable[[str], None] | None = None) -> Connection:
    """Make a connection with heartbeats; over TLS the host's name is verified. Opens it at first use.

    `on_blocked` is called when RabbitMQ stops taking messages from it (an alarm of memory or disk).
    """
    parts = urlsplit(server.url)
    tls: dict[str, Any] | bool = False
    if parts.scheme == "amqps":
        tls = {"server_hostname": parts.hostname, "cert_reqs": ssl.CERT_REQUIRED}
        if server.ca_file is not None:
            tls["ca_certs"] = str(server.ca_file)
    return Connection(
        server.url.replace("amqps://", "amqp://", 1),
        heartbeat=HEARTBEAT,
        connect_timeout=CONNECT_TIMEOUT,
        ssl=tls,
        transport_options={
            "client_properties": {"connection_name": "phin-connectwise"},
            "max_retries": 0,
            "on_blocked": on_blocked,
        },
    )


def abandon(connection: Connection) -> None:
    """Drop a connection without closing it: a broker that is blocked or gone would not answer a close."""
    with suppress(*CONNECTION_ERRORS, amqp_errors.AMQPError):
        connection.collect(socket_timeout=1.0)


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Turn py-amqp's errors of a lost connection into BrokerUnavailable, which names the host but no password."""
    try:
        yield
    except amqp_errors.AccessRefused as error:
        raise BrokerUnavailable(f"RabbitMQ at {server.place} refused the user name or password") from error
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        raise BrokerUnavailable(
            f"RabbitMQ at {server.place}: its certificate is refused ({reason}); it must bear the host name that is in"
            " BROKER_URL, and be issued by an authority in BROKER_CA_FILE or, without that, one that the system trusts"
        ) from error
    except CONNECTION_ERRORS as error:
        raise BrokerUnavailable(f"RabbitMQ at {server.place}: {error or type(error).__name__}") from error


def declare(connection: Connection, topology: Topology) -> None:
    """Declare exchanges, queues and bindings, and delete obsolete queues, idempotently. Raises TopologyMismatch."""
    for name in topology.obsolete_queues:
        with _own_channel(connection, name) as channel:
            channel.queue_delete(name)
    for name, kind in topology.exchanges:
        with _own_channel(connection, name) as channel:
            channel.exchange_declare(name, kind, durable=True, auto_delete=False)
    for queue in topology.queues:
        with _own_channel(connection, queue.name) as channel:
            channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=dict(queue.arguments))
            for exchange, key in queue.bindings:
                channel.queue_bind(queue.name, exchange, key)


def declare_or_check(connection: Connection, topology: Topology) -> None:
    """Declare the topology; a user that may not only looks whether it is there. Raises TopologyMismatch.

    Nobody without the right to declare can see the arguments of queues, nor bindings.
    """
    try:
        declare(connection, topology)
    except NotPermitted:
        check(connection, topology)


def check(connection: Connection, topology: Topology) -> None:
    """Check that everything is there, changing nothing. Raises TopologyMismatch naming the first that is missing."""
    for name, kind in topology.exchanges:
        with _own_channel(connection, name) as channel:
            channel.exchange_declare(name, kind, passive=True)
    for queue in topology.queues:
        with _own_channel(connection, queue.name) as channel:
            channel.queue_declare(queue.name, passive=True)


def depths(connection: Connection, topology: Topology) -> list[QueueDepth]:
    """Read the ready messages and consumers of each queue. Raises TopologyMismatch naming the first that is missing."""
    found = []
    for queue in topology.queues:
        with _own_channel(connection, queue.name) as channel:
            declared = channel.queue_declare(queue.name, passive=True)
        found.append(QueueDepth(queue.name, queue.kind, declared.message_count, declared.consumer_count))
    return found


def delete(connection: Connection, topology: Topology) -> None:
    """Delete queues with their messages, and exchanges. For an installation (or a test) that goes away."""
    with connection.channel() as channel:
        for queue in topology.queues:
            channel.queue_delete(queue.name)
        for name, _ in topology.exchanges:
            channel.exchange_delete(name)


@contextmanager
def _own_channel(connection: Connection, name: str) -> Iterator[Any]:
    # A refusal closes the channel, so each declaration has its own.
    channel: Any = connection.channel()
    try:
        yield channel
    except amqp_errors.PreconditionFailed as error:
        raise TopologyMismatch(
            f"{name} exists with other arguments ({error.reply_text}); stop the worker, move its messages away, "
            f"delete {name} and run `phin-connectwise topology declare`"
        ) from error
    except amqp_errors.NotFound as error:
        raise TopologyMismatch(f"{name} is missing; run `phin-connectwise topology declare`") from error
    except amqp_errors.AccessRefused as error:
        raise NotPermitted(
            f"{name}: the user may not configure it ({error.reply_text}); run `phin-connectwise topology declare` as"
            " RabbitMQ's user `setup`"
        ) from error
    finally:
        with suppress(*CONNECTION_ERRORS, amqp_errors.AMQPError):
            channel.close()

"""Rows are published with pipelined confirms: many are on their way at once, and RabbitMQ confirms each."""

from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from amqp import exceptions as amqp_errors
from amqp.basic_message import Message as AmqpMessage

from store.outbox import EXCHANGE_REPLIES, Destination, OutboxRow
from worker.messaging.broker import Fault, Refusal
from worker.messaging.rabbitmq.connection import CONNECTION_ERRORS, Server, abandon, connect
from worker.topology import Topology

CONFIRM_TIMEOUT = 15.0
PROPERTIES = (
    "message_id",
    "type",
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "priority",
    "timestamp",
    "app_id",
    "cluster_id",
)


class ConfirmedChannel:
    """One channel in confirm mode on a connection of its own; not for several threads, nor for use after an error."""

    def __init__(self, server: Server, topology: Topology) -> None:
        self._topology = topology
        self._is_blocked = False
        self._connection = connect(server, self._on_blocked)
        try:
            self._channel: Any = self._connection.channel()
            self._channel.confirm_select()
        except BaseException:
            abandon(self._connection)
            raise
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)
        self._published = 0
        # By delivery tag: the number of a row that waits for its confirm, and its destination.
        self._unconfirmed: dict[int, tuple[int, Destination]] = {}
        self._returned: dict[Destination, str] = {}
        self._outcomes: dict[int, Refusal | None] = {}

    def publish(self, rows: Mapping[int, OutboxRow], outcomes: dict[int, Refusal | None]) -> None:
        """Publish rows as persistent and mandatory. `outcomes` gets each row's, by its number, as soon as it is known.

        Raises py-amqp's errors, and TimeoutError if a confirm does not come (an alarm blocks the connection).
        """
        self._outcomes = outcomes
        self._returned.clear()
        for number, row in rows.items():
            self._send(number, row)
        until = monotonic() + CONFIRM_TIMEOUT
        while self._unconfirmed:
            if self._is_blocked:
                raise TimeoutError("it takes no messages: an alarm, low on memory or disk")
            if monotonic() >= until:
                raise TimeoutError("it did not confirm in time")
            self._connection.drain_events(timeout=max(0.01, until - monotonic()))

    def close(self) -> None:
        """Close the connection."""
        with suppress(*CONNECTION_ERRORS, amqp_errors.AMQPError):
            self._connection.release()

    def abandon(self) -> None:
        """Drop the connection without closing it."""
        abandon(self._connection)

    def _send(self, number: int, row: OutboxRow) -> None:
        given = {name: row.properties[name] for name in PROPERTIES if row.properties.get(name) is not None}
        headers = dict(row.properties.get("headers") or {})
        message = AmqpMessage(row.body, application_headers=headers, delivery_mode=2, **given)
        exchange, routing_key = self._topology.exchange(row.exchange), row.routing_key
        if row.exchange == EXCHANGE_REPLIES:
            exchange = ""  # the queue is not ours, so it has no prefix
        elif not row.exchange:
            routing_key = f"{self._topology.prefix}{row.routing_key}"
        self._published += 1
        self._unconfirmed[self._published] = (number, (exchange, routing_key))
        self._channel.basic_publish(message, exchange, routing_key, mandatory=True, timeout=CONFIRM_TIMEOUT)

    def _on_blocked(self, _reason: str) -> None:
        self._is_blocked = True

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:  # noqa: FBT001 - called by py-amqp
        for number, destination in self._confirmed(delivery_tag, multiple=multiple):
            reason = self._returned.get(destination)
            self._outcomes[number] = None if reason is None else Refusal(reason, Fault.MESSAGE)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:  # noqa: FBT001 - called by py-amqp
        for number, (exchange, routing_key) in self._confirmed(delivery_tag, multiple=multiple):
            why = f"RabbitMQ refused it: a queue of exchange {exchange!r}, routing key {routing_key} is full or failed"
            self._outcomes[number] = Refusal(why, Fault.QUEUE)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, _message: Any) -> None:  # noqa: ANN401
        # An unroutable message is returned before it is confirmed. Its id may be missing or not unique, so its
        # destination identifies it; if a queue came or went meanwhile, some are published twice and none is lost.
        reason = f"no queue takes it: exchange {exchange}, routing key {routing_key} ({error})"
        self._returned[exchange, routing_key] = reason

    def _confirmed(self, delivery_tag: int, *, multiple: bool) -> list[tuple[int, Destination]]:
        tags = [tag for tag in self._unconfirmed if tag <= delivery_tag] if multiple else [delivery_tag]
        return [self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed]

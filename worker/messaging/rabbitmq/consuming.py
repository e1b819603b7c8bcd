"""One thread takes deliveries from all work queues, and settles them when handlers have returned settlements."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from time import monotonic, sleep
from typing import Any

import structlog
from amqp import exceptions as amqp_errors
from amqp import spec
from kombu.connection import Connection

from store.amqp_properties import as_copied
from store.database import AT_ONCE_BYTES
from store.outbox import OutboxRow
from worker.messaging.broker import Delivery, Fault, Refusal, Settlement
from worker.messaging.rabbitmq.connection import (
    CONNECTION_ERRORS,
    HEARTBEAT,
    Server,
    abandon,
    connect,
    declare_or_check,
)
from worker.messaging.rabbitmq.unsettled import Receipt, Unsettled
from worker.topology import KIND_DEAD, Queue, Topology

# The thread waits so long for the network before it settles what has been handled meanwhile, or looks whether to stop.
POLL_SECONDS, IDLE_SECONDS = 0.01, 0.2
COPY_AGAIN_SECONDS = 1.0

log = structlog.get_logger()

Publish = Callable[[Sequence[OutboxRow]], list[Refusal | None]]


class Consumer:
    """The consuming side of one connection. Its delivery tags end with it, so settlements that come later are dropped.

    Released messages go back by basic.nack, which RabbitMQ does not count from 4.3 on. Older versions count it up to
    the queue's delivery limit, so a message that has been counted is published as a copy, and acknowledged after that.
    """

    def __init__(self, server: Server, topology: Topology, unsettled: Unsettled, publish: Publish) -> None:
        self._unsettled, self._publish = unsettled, publish
        self._prefix = topology.prefix
        self._tags: dict[Any, str] = {}
        self._reopened: list[Any] = []
        self._copies_due: list[Receipt] = []
        self._next_copy_at = self._next_heartbeat_at = 0.0
        self._subscriptions = 0
        self._connection: Connection = connect(server)
        try:
            declare_or_check(self._connection, topology)
            self._channels = [(queue, self._channel()) for queue in topology.queues if queue.kind is not None]
        except BaseException:
            self.abandon()
            raise

    def run(self, stop: Event, is_paused: Callable[[], bool]) -> None:
        """Take deliveries, unless paused, and settle them until `stop` and all are settled. Raises py-amqp's errors."""
        while not stop.is_set() or self._tags or self._unsettled:
            self._work_once(lambda: stop.is_set() or is_paused())
        self._copy()
        for receipt in self._copies_due:
            _nack(receipt)

    def close(self) -> None:
        """Close the connection."""
        with suppress(*CONNECTION_ERRORS, amqp_errors.AMQPError):
            self._connection.release()

    def abandon(self) -> None:
        """Drop the connection; unsettled messages are redelivered, here or elsewhere."""
        abandon(self._connection)

    def _channel(self) -> Any:  # noqa: ANN401 - py-amqp's
        # Each queue has a channel: the prefetch is its own, and an error closes no other.
        channel: Any = self._connection.channel()
        channel.auto_decode = False  # bytes as they came, whatever the sender says of their encoding
        channel._do_revive = partial(self._reopen, channel)  # noqa: SLF001 - py-amqp offers no other place
        return channel

    def _reopen(self, channel: Any) -> None:  # noqa: ANN401 - py-amqp's
        """Open a closed channel again. py-amqp would wait for an answer, and meet the closing of others there."""
        channel.send_method(spec.Channel.Open, "s", ("",))
        self._reopened.append(channel)

    # These wait for no answer: all deliveries that lie before it would be read first, however large they are.

    def _subscribe(self) -> None:
        for queue, channel in self._channels:
            if channel not in self._tags:
                self._subscriptions += 1
                tag = f"{queue.kind}-{self._subscriptions}"
                channel.send_method(spec.Basic.Qos, "lBb", (0, queue.prefetch, False))
                channel.basic_consume(queue.name, tag, nowait=True, callback=partial(self._take, queue, channel))
                self._tags[channel] = tag

    def _unsubscribe(self) -> None:
        while self._tags:
            channel, tag = self._tags.popitem()
            channel.basic_cancel(tag, nowait=True)

    def _drain(self) -> None:
        """Take deliveries for a moment. A channel that RabbitMQ closes is opened again, without the others."""
        try:
            self._connection.drain_events(timeout=POLL_SECONDS if self._unsettled else IDLE_SECONDS)
        except TimeoutError:
            pass
        except amqp_errors.PreconditionFailed as error:
            # The consumer timeout. Any other error would close the channel again.
            if not self._reopened:
                raise
            log.warning("channel.closed", error=str(error))
        while self._reopened:
            channel = self._reopened.pop()
            self._tags.pop(channel, None)
            self._unsettled.lose(channel)
            self._copies_due = [receipt for receipt in self._copies_due if receipt.channel is not channel]

    def _hold_off(self) -> None:
        """Read nothing for a moment, as many bytes are in hand. RabbitMQ's heartbeats lie unread; it gets ours."""
        sleep(POLL_SECONDS)
        if monotonic() >= self._next_heartbeat_at:
            self._next_heartbeat_at = monotonic() + HEARTBEAT / 3
            self._connection.connection.send_heartbeat()

    def _take(self, queue: Queue, channel: Any, message: Any) -> None:  # noqa: ANN401 - py-amqp's
        properties = {name: value for name, value in message.properties.items() if name != "application_headers"}
        headers = message.properties.get("application_headers") or {}
        redelivered, count = bool(message.delivery_info.get("redelivered")), headers.get("x-delivery-count")
        delivery = Delivery(
            kind=queue.kind or "",
            queue=queue.name.removeprefix(self._prefix),
            # py-amqp makes a text of a body without a frame: the empty one.
            body=message.body.encode() if isinstance(message.body, str) else bytes(message.body),
            properties=properties | {"headers": headers},
            redelivered=redelivered,
            # Of a new message that header is the sender's.
            delivery_count=count if redelivered and isinstance(count, int) else 0,
        )
        self._unsettled.hand_over(Receipt(delivery, channel, message.delivery_tag))

    def _work_once(self, is_paused: Callable[[], bool]) -> None:
        if self._unsettled.size < AT_ONCE_BYTES:
            self._drain()
            self._connection.heartbeat_check()
        else:
            self._hold_off()
        settlements = self._unsettled.settlements()
        # After settlements came and before they are sent: a message that a pause releases must not come back here.
        if is_paused():
            self._unsubscribe()
        elif len(self._tags) < len(self._channels):
            self._subscribe()
        for receipt, settlement in settlements:
            if settlement is Settlement.ACK:
                receipt.channel.basic_ack(receipt.tag)
            elif settlement is Settlement.REQUEUE:
                receipt.channel.basic_reject(receipt.tag, requeue=True)
            elif _is_counted(receipt.delivery):
                self._copies_due.append(receipt)
            else:
                _nack(receipt)
        if self._copies_due and monotonic() >= self._next_copy_at:
            self._copy()

    def _copy(self) -> None:
        """Publish copies and acknowledge the originals, which are kept while nothing can be published."""
        refusals = self._publish([_copy_of(receipt.delivery) for receipt in self._copies_due])
        copied, self._copies_due = self._copies_due, []
        for receipt, refusal in zip(copied, refusals, strict=True):
            if refusal is None:
                receipt.channel.basic_ack(receipt.tag)
            elif refusal.fault in {Fault.BROKER, Fault.QUEUE}:
                self._copies_due.append(receipt)
            else:
                _nack(receipt)
        self._next_copy_at = monotonic() + COPY_AGAIN_SECONDS if self._copies_due else 0.0


def _is_counted(delivery: Delivery) -> bool:
    """True if RabbitMQ has counted a failed delivery; the queue of dead messages has no delivery limit."""
    return delivery.delivery_count > 0 and delivery.kind != KIND_DEAD


def _nack(receipt: Receipt) -> None:
    # py-amqp has no method for it; the flags are `multiple` and `requeue`.
    receipt.channel.send_method(spec.Basic.Nack, "Lbb", (receipt.tag, False, True))


def _copy_of(delivery: Delivery) -> OutboxRow:
    properties = as_copied(delivery.properties)
    return OutboxRow(0, delivery.message_id or "", 0, "", delivery.queue, properties, delivery.body)

"""Rows are published together; if that closes the channel or connection, the row at fault is found and refused."""

from collections.abc import Mapping, Sequence

from amqp import exceptions as amqp_errors

from store.outbox import OutboxRow
from worker.messaging.broker import BrokerUnavailable, Fault, Refusal
from worker.messaging.rabbitmq.connection import Server, translated
from worker.messaging.rabbitmq.publishing import ConfirmedChannel
from worker.topology import Topology

# No queue takes this message, so it leaves no trace; its return proves that RabbitMQ takes messages.
PROBE = OutboxRow(0, "", 0, "", "connectwise.probe", {}, b"")

Outcomes = dict[int, Refusal | None]


class BlamedRow(Exception):
    """The connection was lost with this row, and not without it."""


class RowPublisher:
    """Publishes on one connection, made anew when it is lost. Not for several threads."""

    def __init__(self, server: Server, topology: Topology) -> None:
        self._server, self._topology = server, topology
        self._channel: ConfirmedChannel | None = None

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Publish all at once; if that breaks the channel or the connection, the rest one by one."""
        outcomes: Outcomes = {}
        error = self._publish(dict(enumerate(rows)), outcomes)
        for number, row in enumerate(rows):
            if number in outcomes or (error is not None and _is_away(error)):
                continue
            error = self._publish({number: row}, outcomes)
            if error is not None and _is_silent(error):
                # RabbitMQ named no reason: the row is at fault if another message gets through.
                probed = self._publish({number: PROBE}, {})
                error = BlamedRow(_reason(error)) if probed is None else BrokerUnavailable(self._at_its_place(probed))
            if error is not None and not _is_away(error):
                outcomes[number] = Refusal(_reason(error), self._fault_of(error, row))
        away = None if error is None else Refusal(self._at_its_place(error), Fault.BROKER)
        return [outcomes.get(number, away) for number in range(len(rows))]

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _publish(self, rows: Mapping[int, OutboxRow], outcomes: Outcomes) -> Exception | None:
        """Publish rows. Returns the error that ended it: BrokerUnavailable if the broker is away."""
        was_open = self._channel is not None
        error = self._try(rows, outcomes)
        unpublished = {number: row for number, row in rows.items() if number not in outcomes}
        if error is not None and was_open and not isinstance(error, TimeoutError):
            # An idle connection may have been closed without our noticing; ids make a repeat harmless.
            error = self._try(unpublished, outcomes)
        return error

    def _try(self, rows: Mapping[int, OutboxRow], outcomes: Outcomes) -> Exception | None:
        try:
            with translated(self._server):
                self._channel = self._channel or ConfirmedChannel(self._server, self._topology)
        except BrokerUnavailable as error:
            return error
        try:
            self._channel.publish(rows, outcomes)
        except Exception as error:  # noqa: BLE001 - told apart by the caller
            self._channel.abandon()
            self._channel = None
            return error
        return None

    def _fault_of(self, error: Exception, row: OutboxRow) -> Fault:
        """Return QUEUE if an exchange of ours is missing or forbidden, since then all rows to it wait."""
        is_ours = self._topology.exchange(row.exchange) in {name for name, _ in self._topology.exchanges}
        waits = is_ours and isinstance(error, amqp_errors.NotFound | amqp_errors.AccessRefused)
        return Fault.QUEUE if waits else Fault.CHANNEL

    def _at_its_place(self, error: Exception) -> str:
        reason = _reason(error)
        return reason if isinstance(error, BrokerUnavailable) else f"RabbitMQ at {self._server.place}: {reason}"


def _is_silent(error: Exception) -> bool:
    """True if the connection was lost without an error from RabbitMQ, so that the cause is unknown."""
    lost = isinstance(error, OSError | amqp_errors.RecoverableConnectionError)
    return lost and not _is_away(error)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_away(error: Exception) -> bool:
    """True if no row is at fault: the broker is out of reach, takes nothing now, or shuts down."""
    return isinstance(error, BrokerUnavailable | TimeoutError | amqp_errors.ConnectionForced)

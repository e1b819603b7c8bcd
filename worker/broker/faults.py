"""Publishing many rows, and finding out which of them it is that a channel or connection dies of."""

from collections.abc import Mapping, Sequence

from amqp import exceptions as amqp_errors

from store.outbox import OutboxRow
from worker.broker.connection import Server, translated
from worker.broker.publishing import ConfirmedChannel
from worker.delivery import BrokerUnavailable, Fault, Refusal
from worker.topology import Topology

LOST_IN_A_ROW = 3
"""After so many connections that were lost without a word the broker is at fault, not each row."""

Outcomes = dict[int, Refusal | None]


class RowPublisher:
    """Publishes on one connection, made anew when it is lost. Not for several threads."""

    def __init__(self, server: Server, topology: Topology) -> None:
        self._server, self._topology = server, topology
        self._channel: ConfirmedChannel | None = None

    def publish(self, rows: Sequence[OutboxRow]) -> list[Refusal | None]:
        """Publish all at once; if that breaks the channel or the connection, the rest one by one."""
        outcomes: Outcomes = {}
        error = self._publish(dict(enumerate(rows)), outcomes)
        lost = 0
        for number, row in enumerate(rows):
            if number in outcomes or (error is not None and _is_away(error)):
                continue
            error = self._publish({number: row}, outcomes)
            if error is None:
                lost = 0
            elif not _is_away(error):
                outcomes[number] = Refusal(_said(error), Fault.CHANNEL)
                lost = lost + 1 if isinstance(error, OSError | amqp_errors.RecoverableConnectionError) else 0
                if lost == LOST_IN_A_ROW:
                    error = BrokerUnavailable(self._at_its_place(error))
        away = None if error is None else Refusal(self._at_its_place(error), Fault.BROKER)
        return [outcomes.get(number, away) for number in range(len(rows))]

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _publish(self, rows: Mapping[int, OutboxRow], outcomes: Outcomes) -> Exception | None:
        """Publish; the error that ended it, BrokerUnavailable if the broker is away, whatever the rows are."""
        was_open = self._channel is not None
        error = self._try(rows, outcomes)
        left = {number: row for number, row in rows.items() if number not in outcomes}
        if error is not None and was_open and not isinstance(error, TimeoutError):
            # An idle connection may have been closed without our noticing; ids make a repeat harmless.
            error = self._try(left, outcomes)
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

    def _at_its_place(self, error: Exception) -> str:
        said = _said(error)
        return said if isinstance(error, BrokerUnavailable) else f"RabbitMQ at {self._server.place}: {said}"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_away(error: Exception) -> bool:
    """Whether no row can be blamed: the broker is out of reach, takes nothing now, or goes down."""
    return isinstance(error, BrokerUnavailable | TimeoutError | amqp_errors.ConnectionForced)

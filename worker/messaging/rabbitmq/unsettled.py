"""Deliveries in hand, also those of lost connections: none is handled at the same time as its redelivery."""

from collections import deque
from threading import Event
from typing import Any, NamedTuple

from worker.messaging.broker import Deliver, Delivery, Settle, Settlement


class Receipt(NamedTuple):
    """A delivery, and the channel and tag by which it is settled."""

    delivery: Delivery
    channel: Any
    tag: int

    @property
    def message(self) -> tuple[str, str | None, bytes]:
        """The parts that a delivery has in common with its redelivery."""
        return self.delivery.queue, self.delivery.message_id, self.delivery.body


class Unsettled:
    """Used by the consuming thread only; settlements come from any thread. Outlives connections.

    A handler whose connection is lost cannot be interrupted, so the redelivery waits here until it has ended.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._arrived: deque[tuple[Settle, Settlement]] = deque()
        self._current: dict[Settle, Receipt] = {}
        self._of_lost: dict[Settle, Receipt] = {}
        self._waiting: list[Receipt] = []
        self._lost: dict[Any, Event] = {}

    def __bool__(self) -> bool:
        return bool(self._current or self._waiting)

    @property
    def size(self) -> int:
        """Bytes of all messages that are in memory."""
        in_hand = (*self._current.values(), *self._of_lost.values(), *self._waiting)
        return sum(len(receipt.delivery.body) for receipt in in_hand)

    def hand_over(self, receipt: Receipt) -> None:
        """Have a message handled, if a lost connection delivered it too, after the handling of that has ended."""
        if any(receipt.message == lost.message for lost in self._of_lost.values()):
            self._waiting.append(receipt)
            return
        lost = self._lost.setdefault(receipt.channel, Event())
        settle = Settle(lambda settle, settlement: self._arrived.append((settle, settlement)), lost)
        self._current[settle] = receipt
        self._deliver(receipt.delivery, settle)

    def settlements(self) -> list[tuple[Receipt, Settlement]]:
        """Return deliveries to be settled on this connection, each with its settlement."""
        settlements, ended = [], False
        while self._arrived:
            settle, settlement = self._arrived.popleft()
            if settle in self._current:
                settlements.append((self._current.pop(settle), settlement))
            else:
                del self._of_lost[settle]
                ended = True
        if ended:
            waiting, self._waiting = self._waiting, []
            for receipt in waiting:
                self.hand_over(receipt)
        return settlements

    def lose(self, channel: Any = None) -> None:  # noqa: ANN401 - py-amqp's
        """Note that this channel is lost, None = all: handling need not begin, and nothing can be settled."""
        channels = list(self._lost) if channel is None else [channel]
        for each in channels:
            self._lost.pop(each, Event()).set()
        lost = {settle: receipt for settle, receipt in self._current.items() if receipt.channel in channels}
        self._of_lost |= lost
        self._current = {settle: receipt for settle, receipt in self._current.items() if settle not in lost}
        self._waiting = [receipt for receipt in self._waiting if receipt.channel not in channels]

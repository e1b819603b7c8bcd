"""Deliveries that handlers have, also those of connections that are lost: none is handled beside its repetition."""

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
        """The parts that it has in common with its repetition."""
        return self.delivery.queue, self.delivery.message_id, self.delivery.body


class Unsettled:
    """Belongs to the consuming thread; verdicts come from any. Outlives connections.

    Nobody can interrupt a handler whose connection is lost, so the repetition waits here until it has ended.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._verdicts: deque[tuple[Settle, Settlement]] = deque()
        self._current: dict[Settle, Receipt] = {}
        self._void: dict[Settle, Receipt] = {}
        self._waiting: list[Receipt] = []
        self._lost: dict[Any, Event] = {}

    def __bool__(self) -> bool:
        return bool(self._current or self._waiting)

    @property
    def size(self) -> int:
        """Bytes of all messages that are in memory."""
        in_hand = (*self._current.values(), *self._void.values(), *self._waiting)
        return sum(len(receipt.delivery.body) for receipt in in_hand)

    def hand_over(self, receipt: Receipt) -> None:
        """Have it handled, at once or when what a lost connection delivered of the same message has ended."""
        if any(receipt.message == void.message for void in self._void.values()):
            self._waiting.append(receipt)
            return
        lost = self._lost.setdefault(receipt.channel, Event())
        settle = Settle(lambda settle, settlement: self._verdicts.append((settle, settlement)), lost)
        self._current[settle] = receipt
        self._deliver(receipt.delivery, settle)

    def settlements(self) -> list[tuple[Receipt, Settlement]]:
        """Deliveries to be settled on this connection."""
        settlements, ended = [], False
        while self._verdicts:
            settle, settlement = self._verdicts.popleft()
            if settle in self._current:
                settlements.append((self._current.pop(settle), settlement))
            else:
                del self._void[settle]
                ended = True
        if ended:
            waiting, self._waiting = self._waiting, []
            for receipt in waiting:
                self.hand_over(receipt)
        return settlements

    def lose(self, channel: Any = None) -> None:  # noqa: ANN401 - py-amqp's
        """This channel is lost, None = all: what is not begun yet need not be, and no verdict can be told."""
        channels = list(self._lost) if channel is None else [channel]
        for one in channels:
            self._lost.pop(one, Event()).set()
        gone = {settle: receipt for settle, receipt in self._current.items() if receipt.channel in channels}
        self._void |= gone
        self._current = {settle: receipt for settle, receipt in self._current.items() if settle not in gone}
        self._waiting = [receipt for receipt in self._waiting if receipt.channel not in channels]

"""A destination whose queue is full gets nothing for a moment, and then one message as a test."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from time import monotonic

from store.outbox import Destination

PAUSE_FIRST, PAUSE_MOST = 0.5, 5.0


@dataclass(frozen=True)
class _Pause:
    until: float
    seconds: float


class FullQueues:
    """The destinations that the relay leaves out, until each queue has taken its test message."""

    def __init__(self) -> None:
        self._pauses: dict[Destination, _Pause] = {}

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._pauses)

    def __len__(self) -> int:
        return len(self._pauses)

    def to_be_tried(self) -> list[Destination]:
        """Return the destinations whose pause is over."""
        now = monotonic()
        return [destination for destination, pause in self._pauses.items() if pause.until <= now]

    def note(self, taken: Collection[Destination], refused: Collection[Destination]) -> None:
        """Note where messages were taken, and where they were refused because the queue is full."""
        for destination in taken:
            self._pauses.pop(destination, None)
        for destination in refused:
            before = self._pauses.get(destination)
            seconds = PAUSE_FIRST if before is None else min(before.seconds * 2, PAUSE_MOST)
            self._pauses[destination] = _Pause(monotonic() + seconds, seconds)

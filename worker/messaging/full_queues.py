"""Destinations whose queue is full: each is left alone for a moment, then tried with one message."""

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
    """The relay leaves these out. Once a queue has taken the one message it gets the rest."""

    def __init__(self) -> None:
        self._pauses: dict[Destination, _Pause] = {}

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._pauses)

    def __len__(self) -> int:
        return len(self._pauses)

    def to_be_tried(self) -> list[Destination]:
        """Those whose pause is over."""
        now = monotonic()
        return [destination for destination, pause in self._pauses.items() if pause.until <= now]

    def note(self, taken: Collection[Destination], refused: Collection[Destination]) -> None:
        """Where messages were taken there is room, unless some were refused."""
        for destination in taken:
            self._pauses.pop(destination, None)
        for destination in refused:
            before = self._pauses.get(destination)
            seconds = PAUSE_FIRST if before is None else min(before.seconds * 2, PAUSE_MOST)
            self._pauses[destination] = _Pause(monotonic() + seconds, seconds)

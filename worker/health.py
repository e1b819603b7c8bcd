"""The readiness of this worker: its threads keep it current; logs, the command `health` and probes read it."""

from threading import Lock
from time import monotonic
from typing import Literal, get_args

import structlog

from store import StoreBusy

# A locked table delays only the threads that need it, so the success of others does not show that the lock is gone.
# A waiting thread reports more often than this: it is longer than one try and the pause after it.
BUSY_SECONDS = 20.0

Part = Literal["store", "broker", "publisher", "deferred", "partners"]
"""The database; consuming from the broker; publishing to it; handling what was deferred; taking due partners up."""

log = structlog.get_logger()


class Readiness:
    """The troubles that keep each part from working, and when its loop last came round. Safe from several threads.

    A trouble is logged when it is new.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._troubles: dict[Part, str] = {"store": "not connected yet", "broker": "not connected yet"}
        self._busy_until: dict[Part, float] = {}
        self._ticked_at: dict[Part, float] = {}

    def tick(self, part: Part) -> None:
        """Note that the loop of a part goes on, whether it can do anything or not."""
        self._ticked_at[part] = monotonic()

    def hanging(self, seconds: float) -> list[Part]:
        """Return the parts whose loops have begun, and have not come round for so long."""
        before = monotonic() - seconds
        return sorted(part for part, at in list(self._ticked_at.items()) if at < before)

    def fine(self, part: Part) -> None:
        """Note that a part works, as far as the caller can tell."""
        with self._lock:
            if monotonic() < self._busy_until.get(part, 0.0):
                return
            before = self._troubles.pop(part, None)
        if before is not None:
            event = f"{part}.fine"
            log.info(event)

    def trouble(self, part: Part, error: Exception, *, expected: bool = True) -> None:
        """Note that a part does not work. An error that is not `expected` is logged with its traceback."""
        why = str(error) or type(error).__name__
        with self._lock:
            if isinstance(error, StoreBusy):
                self._busy_until[part] = monotonic() + BUSY_SECONDS
            before = self._troubles.get(part)
            self._troubles[part] = why
        if why != before:
            event = f"{part}.trouble"
            log.warning(event, error=why, exc_info=error if not expected else None)

    @property
    def troubles(self) -> dict[Part, str]:
        """The reason of each part that does not work; empty = ready."""
        with self._lock:
            return dict(self._troubles)

    def parts(self) -> dict[Part, bool]:
        """Return whether each part works."""
        troubles = self.troubles
        return {part: part not in troubles for part in get_args(Part)}

    def __str__(self) -> str:
        """Return all troubles in one line; empty = ready."""
        return "; ".join(f"{part}: {why}" for part, why in sorted(self.troubles.items()))

"""Whether this worker can work: one object that its threads keep current, and that logs, `health` and probes read."""

from threading import Lock
from typing import Literal

import structlog

Part = Literal["store", "broker", "publisher", "deferred", "partners"]
"""The database; consuming from the broker; publishing to it; handling what was deferred; taking due partners up."""

log = structlog.get_logger()


class Readiness:
    """What keeps each part from working. Safe from several threads; a trouble is logged when it is new."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._troubles: dict[Part, str] = {"store": "not connected yet", "broker": "not connected yet"}

    def fine(self, part: Part) -> None:
        """It works."""
        with self._lock:
            before = self._troubles.pop(part, None)
        if before is not None:
            event = f"{part}.fine"
            log.info(event)

    def trouble(self, part: Part, error: Exception, *, expected: bool = True) -> None:
        """It does not work; `expected` False = a fault of ours, logged with its traceback."""
        why = str(error) or type(error).__name__
        with self._lock:
            before = self._troubles.get(part)
            self._troubles[part] = why
        if why != before:
            event = f"{part}.trouble"
            log.warning(event, error=why, exc_info=error if not expected else None)

    @property
    def troubles(self) -> dict[Part, str]:
        """Why each part that does not work does not; empty = ready."""
        with self._lock:
            return dict(self._troubles)

    def __str__(self) -> str:
        """All troubles in one line; empty = ready."""
        return "; ".join(f"{part}: {why}" for part, why in sorted(self.troubles.items()))

"""An action on the store is repeated after a conflict or a lock; in an outage its message is released."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

from store import StoreBusy, StoreConflict, StoreUnavailable
from worker.health import Readiness
from worker.messaging.store_outage import StoreOutage

CONFLICTS = 5
PAUSE_FIRST, PAUSE_MOST = 0.2, 5.0
# A message that waits for a lock is released after so long, and redelivered: those behind it are handled, and
# RabbitMQ's consumer timeout (30 minutes) is not reached. One wait for a lock takes longer (`LOCK_TIMEOUT`), so a
# thread spends about ten seconds on each of the 50 messages that may be in hand.
HELD_SECONDS = 5.0

R = TypeVar("R")


class StoreNotReady(Exception):
    """The store is away, or has been locked for long: the message is released, as it is not at fault."""


class StoreRetry:
    """Repeats actions on the store. Safe from many threads. `stop` ends waiting."""

    def __init__(self, stop: Event, outage: StoreOutage, readiness: Readiness) -> None:
        self._stop, self._outage, self._readiness = stop, outage, readiness

    def do(self, action: Callable[[], R]) -> R:
        """Do an action, and repeat it after a conflict or a lock. Raises StoreNotReady; nothing is stored then."""
        pause, conflicts, until = PAUSE_FIRST, 0, monotonic() + HELD_SECONDS
        while True:
            if self._outage.is_on():
                raise StoreNotReady
            try:
                return action()
            except StoreConflict:
                conflicts += 1
                if conflicts > CONFLICTS:
                    raise
            except (StoreBusy, StoreUnavailable) as error:
                if isinstance(error, StoreUnavailable):
                    if self._outage.meet(error):
                        raise StoreNotReady from error
                else:
                    self._readiness.trouble("store", error)
                # Neither a lock nor this is a failure, however long it lasts.
                if self._stop.wait(pause) or monotonic() > until:
                    raise StoreNotReady from error
                pause = min(pause * 2, PAUSE_MOST)

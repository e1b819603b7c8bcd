"""One request of a partner at a time, where two would contradict each other; other partners do not wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

WAIT_SECONDS = 5.0
"""Less than a queue may take to answer: whoever waits for longer is told, and does not hold a thread."""


class Busy(Exception):
    """Another request of the partner takes too long."""


class PartnerLocks:
    """A lock for each partner."""

    def __init__(self) -> None:
        self._own, self._locks = Lock(), dict[str, Lock]()

    @contextmanager
    def by(self, partner_id: str) -> Iterator[None]:
        """Hold the partner's lock. Raises Busy."""
        with self._own:
            lock = self._locks.setdefault(partner_id, Lock())
        if not lock.acquire(timeout=WAIT_SECONDS):
            raise Busy(partner_id)
        try:
            yield
        finally:
            lock.release()

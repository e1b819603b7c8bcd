"""The request budget of a partner's ConnectWise: a token bucket, whose state is kept with the lease."""

from threading import Lock
from time import monotonic

PER_MINUTE = 840.0
BURST = 60.0
"""In any minute at most 900 requests are made: ConnectWise limits at about 1,000 (connectwise-api.md 7.1)."""


class RequestBudget:
    """The number of requests that may be made now. Safe from several threads.

    `tokens` is what was left `age` seconds ago, None = a full bucket. The next worker goes on with what this one left.
    """

    def __init__(self, tokens: float | None, age: float) -> None:
        self._lock = Lock()
        self._at = monotonic() - max(0.0, age)
        self._tokens = BURST if tokens is None else tokens

    @property
    def tokens(self) -> float:
        """The number of requests that are left; below 0 if some were made that nobody waited for."""
        with self._lock:
            return self._refill()

    def spend(self) -> None:
        """A request is made."""
        with self._lock:
            self._tokens = self._refill() - 1.0

    def seconds_to_wait(self) -> float:
        """Return the seconds until a request may be made; 0 = now."""
        return max(0.0, (1.0 - self.tokens) * 60.0 / PER_MINUTE)

    def _refill(self) -> float:
        now = monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._at) * PER_MINUTE / 60.0)
        self._at = now
        return self._tokens

"""The request budget of a partner's ConnectWise: a token bucket, whose state is kept with the lease."""

from threading import Lock
from time import monotonic

# Together at most 900 requests in any minute: ConnectWise limits at about 1,000 (connectwise-api.md 7.1).
PER_MINUTE = 840.0
BURST = 60.0


class RequestBudget:
    """The requests that may be made now. Safe from several threads.

    `tokens` were left `age` seconds ago, None = a full bucket. The next worker goes on with what this one leaves.
    """

    def __init__(self, tokens: float | None, age: float) -> None:
        self._lock = Lock()
        self._at = monotonic() - max(0.0, age)
        self._tokens = BURST if tokens is None else tokens

    @property
    def tokens(self) -> float:
        """The number of requests that are left; below 0 if some were made without waiting."""
        with self._lock:
            return self._refill()

    def spend(self) -> None:
        """Take one token, for a request that is being made."""
        with self._lock:
            self._tokens = self._refill() - 1.0

    def seconds_to_wait(self) -> float:
        """Return the seconds until the next request may be made; 0 = now."""
        return max(0.0, (1.0 - self.tokens) * 60.0 / PER_MINUTE)

    def _refill(self) -> float:
        now = monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._at) * PER_MINUTE / 60.0)
        self._at = now
        return self._tokens

"""All workers share one clock, the database's."""

from datetime import UTC, datetime, timedelta
from time import monotonic

from store import Tx, now


class Clock:
    """The database's clock as last read, carried on by the monotonic clock. Safe from several threads.

    Times that others have written are compared with this clock only. Until the first reading it is this machine's.
    """

    def __init__(self) -> None:
        self._reading = (datetime.now(UTC), monotonic())
        self.ahead = 0.0
        """By how many seconds this machine's clock was fast at the last reading; negative = slow."""

    def read(self, tx: Tx) -> None:
        """Read the database's clock."""
        self.set(now(tx))

    def set(self, at: datetime) -> None:
        """Take this time as the database's, just read."""
        self._reading = (at, monotonic())
        self.ahead = (datetime.now(UTC) - at).total_seconds()

    def now(self) -> datetime:
        """Return the database's time."""
        at, since = self._reading
        return at + timedelta(seconds=monotonic() - since)

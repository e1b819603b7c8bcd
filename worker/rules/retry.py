"""The arithmetic of retries: how long to wait before the next attempt, and when to give up. Seconds, unless typed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

# The back-off begins here, doubles with each attempt, and ends here.
RETRY_FIRST = 2.0
RETRY_MAX = 300.0
# An error that nothing explains is tried so often.
UNEXPECTED_TRIES = 3
# The pause between two attempts at a ConnectWise that refuses what only we can mend.
OUR_FAULT_PAUSE = timedelta(minutes=5)
# A read gets so many seconds beyond the time at which its line is given up.
LAST_TRY = 10.0
# A write gets at least these, and what its line may be late by, without the time in which it may begin and a reserve.
LAST_WRITE = 5.0
AROUND_WRITE = 15.0
# The pause after a 429 that names none.
RATE_LIMIT_PAUSE = timedelta(seconds=30)
# A server may answer nothing but 429 for so long before its lines are given up.
RATE_LIMITED_FOR = timedelta(hours=4)
# A line that is retried is reported once in this time.
REPORT_EVERY = timedelta(minutes=5)


def backoff(attempts: int, chance: float, longest: float = RETRY_MAX) -> float:
    """Return the seconds to the next attempt: full jitter under a ceiling that doubles from 2 s; at least 0.5 s."""
    ceiling = min(longest, RETRY_FIRST * 2.0 ** min(attempts, 16))
    return max(0.5, chance * ceiling)


def longest_wait(retry_for: timedelta) -> float:
    """Return the most seconds between two attempts: a tenth of `retry_for`, at most 5 min.

    So a line is given up late by no more than that, whenever it began to fail.
    """
    return min(RETRY_MAX, max(RETRY_FIRST, retry_for.total_seconds() / 10))


def is_given_up(first_failed_at: datetime | None, now: datetime, retry_for: timedelta) -> bool:
    """Return True if work that has failed since then is to be given up."""
    return first_failed_at is not None and now - first_failed_at >= retry_for


def seconds_for_call(failing_since: Sequence[datetime | None], now: datetime, retry_for: timedelta) -> float | None:
    """Return the seconds that a read may take: until its line is given up, and LAST_TRY more. None = no limit."""
    left = _seconds_left(failing_since, now, retry_for)
    return None if left is None else max(0.0, left) + LAST_TRY


def seconds_for_write(failing_since: Sequence[datetime | None], now: datetime, retry_for: timedelta) -> float | None:
    """Return the seconds that a write may take, after which it is read. None = no limit.

    A line may be given up late by a tenth of `retry_for`: a slow server may still apply a write that is cut short.
    """
    left = _seconds_left(failing_since, now, retry_for)
    late = max(0.0, retry_for.total_seconds() / 10 - AROUND_WRITE)
    return None if left is None else max(left + late, LAST_WRITE)


def _seconds_left(failing_since: Sequence[datetime | None], now: datetime, retry_for: timedelta) -> float | None:
    since = min((at for at in failing_since if at is not None), default=None)
    return None if since is None else (since + retry_for - now).total_seconds()

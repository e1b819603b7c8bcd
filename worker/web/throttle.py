"""Failed logins are slowed down: by name, so that no password is guessed, and by address, so that no list is tried."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from time import monotonic

FREE, OF_ADDRESS_FREE = 5, 25
"""Failures of one name, and of one address, before the first pause."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""A name must not be locked for long by those who only know it."""
FORGOTTEN_AFTER = 3600.0
REMEMBERED = 10_000


@dataclass
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Throttle:
    """Counts failed logins of this process. Each failure beyond the free ones doubles the pause."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def attempt(self, name: str, address: str) -> float:
        """Return the seconds until the next try of this name from this address may be made; 0 = this one may.

        A try counts as failed until it has `succeeded`, so that many at the same time are slowed down too.
        """
        now = monotonic()
        with self._lock:
            known = (self._failures.get(key) for key, _ in _keys(name, address))
            seconds = max(0.0, *(one.until - now for one in known if one is not None), 0.0)
            if seconds > 0:
                return seconds
            for key, free in _keys(name, address):
                found = self._failures.pop(key, None)
                if found is None or now - found.last > FORGOTTEN_AFTER:
                    found = _Failures()
                found.count, found.last = found.count + 1, now
                if found.count >= free:
                    found.until = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(found.count - free, 10))
                self._failures[key] = found
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name; for its address the try was none."""
        with self._lock:
            self._failures.pop(("name", name), None)
            found = self._failures.get(("address", address))
            if found is not None:
                found.count, found.until = found.count - 1, 0.0


def _keys(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    keys = ((("name", name), FREE), (("address", address), OF_ADDRESS_FREE))
    return keys if address else keys[:1]

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

    def wait(self, name: str, address: str) -> float:
        """Seconds until the next try of this name from this address may be made; 0 = now."""
        with self._lock:
            known = (self._failures.get(key) for key, _ in _keys(name, address))
            return max(0.0, *(one.until - monotonic() for one in known if one is not None), 0.0)

    def failed(self, name: str, address: str) -> None:
        """Count a failed login."""
        now = monotonic()
        with self._lock:
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

    def succeeded(self, name: str) -> None:
        """Forget the failures of this name."""
        with self._lock:
            self._failures.pop(("name", name), None)


def _keys(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    keys = ((("name", name), FREE), (("address", address), OF_ADDRESS_FREE))
    return keys if address else keys[:1]

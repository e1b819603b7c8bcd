"""The rate at which each partner's messages are handled. In memory, per worker; safe from several threads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import TypeVar

from store.dead_letters import storable
from store.line_results import PER_SECOND

# A message counts as one, and once more for each of these bytes: about 2,000 lines of a push.
BYTES_PER_MESSAGE = 250_000

# A repeat of these publishes results again, or one names thousands of unmapped companies, each of which is answered;
# the partner's next ones are deferred until these results have left.
REPUBLISHING = frozenset({"push.requested.v1", "revert.requested.v1", "mapping.check_requested.v1"})

_PARTNER = re.compile(rb'"partner_id"\s*:\s*"([^"]{1,512})"')
_FORGET_ABOVE = 1_000


@dataclass(frozen=True)
class Rate:
    """One partner's messages in a second in the long run, and in a burst those of so many seconds."""

    per_second: float
    burst_seconds: float


# By kind; a kind without a rate is never deferred for its rate.
RATES: Mapping[str, Rate] = {
    "connection.changed.v1": Rate(2.0, 5.0),
    "connection.check_requested.v1": Rate(2.0, 5.0),
    "mapping.changed.v1": Rate(500.0, 4.0),
    "mapping.check_requested.v1": Rate(2.0, 5.0),
    "push.requested.v1": Rate(5.0, 0.6),
    "push.cancel_requested.v1": Rate(10.0, 2.0),
    "catalog.requested.v1": Rate(10.0, 5.0),
    "revert.requested.v1": Rate(2.0, 5.0),
}


def partner_of(body: bytes) -> str | None:
    """Find the partner of a message without decoding it. None = it names none, so it is no message of ours."""
    named = _PARTNER.search(body)
    return storable(named[1].decode(errors="replace"))[:128] if named else None


class PartnerRates:
    """Counts the messages of each partner, per kind."""

    def __init__(self, rates: Mapping[str, Rate] = RATES) -> None:
        self._rates = rates
        self._lock = Lock()
        self._next_due: dict[tuple[str, str], float] = {}
        self._republished_by: dict[str, float] = {}

    def wait(self, kind: str, partner_id: str, size: int) -> float:
        """Count a message of `size` bytes. Returns the seconds until it is due, 0 = now."""
        rate, now = self._rates.get(kind), monotonic()
        if rate is None:
            return 0.0
        with self._lock:
            _forget(self._next_due, now)
            due = max(now, self._next_due.get((kind, partner_id), now))
            self._next_due[kind, partner_id] = due + (1 + size / BYTES_PER_MESSAGE) / rate.per_second
            republished = self._republished_by.get(partner_id, now) if kind in REPUBLISHING else now
        return max(0.0, due - now - rate.burst_seconds, republished - now)

    def charge_results(self, partner_id: str, results: int) -> None:
        """Count results that were published again for this partner, at the pace at which they leave."""
        if results:
            with self._lock:
                now = monotonic()
                _forget(self._republished_by, now)
                before = max(now, self._republished_by.get(partner_id, now))
                self._republished_by[partner_id] = before + results / PER_SECOND

    def partners_over_rate(self) -> set[str]:
        """Return the partners for whom results were published again that have not all left yet."""
        with self._lock:
            now = monotonic()
            return {partner_id for partner_id, until in self._republished_by.items() if until > now}


Key = TypeVar("Key")


def _forget(times: dict[Key, float], now: float) -> None:
    """Drop times that have passed, once there are many."""
    if len(times) > _FORGET_ABOVE:
        for key in [key for key, time in times.items() if time <= now]:
            del times[key]

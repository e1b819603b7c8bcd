"""Each partner's share of messages: how long what comes beyond it has to wait. In memory; safe from several threads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import TypeVar

from store.dead_letters import storable
from store.line_results import PER_SECOND

BYTES_PER_TURN = 250_000
"""A message counts as one, and once more for each of these: about 2,000 lines of a push."""

ANSWERED_AT_ONCE = frozenset({"push.requested.v1", "revert.requested.v1"})
"""The kinds that a partner who caused many answers waits with until these have left."""

_PARTNER = re.compile(rb'"partner_id"\s*:\s*"([^"]{1,512})"')
_FORGET_ABOVE = 1_000


@dataclass(frozen=True)
class Share:
    """One partner may send so many a second in the long run, and a burst of so many seconds' worth."""

    per_second: float
    burst_seconds: float


SHARES: Mapping[str, Share] = {
    "connection.changed.v1": Share(2.0, 5.0),
    "connection.check_requested.v1": Share(2.0, 5.0),
    "mapping.changed.v1": Share(500.0, 4.0),
    "mapping.check_requested.v1": Share(2.0, 5.0),
    "push.requested.v1": Share(5.0, 0.6),
    "push.cancel_requested.v1": Share(10.0, 2.0),
    "catalog.requested.v1": Share(10.0, 5.0),
    "revert.requested.v1": Share(2.0, 5.0),
}
"""By kind; a kind without a share never waits."""


def partner_of(body: bytes) -> str | None:
    """The partner of a message, as it looks without decoding it; None = nobody's, so not a message of ours."""
    named = _PARTNER.search(body)
    return storable(named[1].decode(errors="replace"))[:128] if named else None


class PartnerRates:
    """Counts what partners send, per kind."""

    def __init__(self, shares: Mapping[str, Share] = SHARES) -> None:
        self._shares = shares
        self._lock = Lock()
        self._next_turn: dict[tuple[str, str], float] = {}
        self._answered_until: dict[str, float] = {}

    def wait(self, kind: str, partner_id: str, size: int) -> float:
        """Count a message of `size` bytes; the seconds until its turn, 0 = now."""
        share, now = self._shares.get(kind), monotonic()
        if share is None:
            return 0.0
        with self._lock:
            _forget(self._next_turn, now)
            turn = max(now, self._next_turn.get((kind, partner_id), now))
            self._next_turn[kind, partner_id] = turn + (1 + size / BYTES_PER_TURN) / share.per_second
            answered = self._answered_until.get(partner_id, now) if kind in ANSWERED_AT_ONCE else now
        return max(0.0, turn - now - share.burst_seconds, answered - now)

    def charge(self, partner_id: str, answers: int) -> None:
        """Count what was said at once because of a message of this partner, at the pace at which it leaves."""
        if answers:
            with self._lock:
                now = monotonic()
                _forget(self._answered_until, now)
                before = max(now, self._answered_until.get(partner_id, now))
                self._answered_until[partner_id] = before + answers / PER_SECOND

    def owing(self) -> set[str]:
        """The partners whose messages made so much be said that no more of theirs is handled for now."""
        with self._lock:
            now = monotonic()
            return {partner_id for partner_id, until in self._answered_until.items() if until > now}


Key = TypeVar("Key")


def _forget(times: dict[Key, float], now: float) -> None:
    """Keep few: a time that has passed says nothing."""
    if len(times) > _FORGET_ABOVE:
        for key in [key for key, time in times.items() if time <= now]:
            del times[key]

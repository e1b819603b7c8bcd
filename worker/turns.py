"""Turns: a partner that floods the worker with messages delays nobody but itself.

Queues are first in, first out. So what a partner sends faster than its share is set aside: as rows of the outbox, which
bring it back to its queue at its turn.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic

import structlog

from store import Database, outbox
from store.outbox import OutboxRow
from store.properties import TURN_HEADER
from worker.delivery import Delivery, Verdict

BYTES_PER_TURN = 20_000
"""A message counts as one, and once more for each of these: about 120 lines of a push."""

_PARTNER = re.compile(rb'"partner_id"\s*:\s*"([^"]{1,512})"')
_FORGET_ABOVE = 1_000

log = structlog.get_logger()


@dataclass(frozen=True)
class Share:
    """What one partner may send: so many a second in the long run, and a burst of so many seconds' worth."""

    per_second: float
    burst_seconds: float


SHARES = {
    "connection.changed.v1": Share(2.0, 5.0),
    "mapping.changed.v1": Share(500.0, 4.0),
    "push.requested.v1": Share(10.0, 1.0),
    "push.cancel_requested.v1": Share(10.0, 2.0),
    "revert.requested.v1": Share(2.0, 5.0),
}


class Turns:
    """Stands before the handling of one kind of message; safe from several threads.

    `closed` gives a row as it may be stored, `handle` handles what is not set aside.
    """

    def __init__(
        self,
        share: Share,
        database: Database,
        closed: Callable[[OutboxRow], OutboxRow],
        handle: Callable[[Sequence[Delivery]], list[Verdict]],
    ) -> None:
        self._share, self._database, self._closed, self._handle = share, database, closed, handle
        self._lock = Lock()
        self._next_turn: dict[bytes, float] = {}

    def handle(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Set aside what is over the share, handle the rest; a verdict for each."""
        later = [(delivery, seconds) for delivery in deliveries if (seconds := self._seconds_to_wait(delivery))]
        aside = {id(delivery) for delivery, _ in later} if later and self._set_aside(later) else set()
        rest = [delivery for delivery in deliveries if id(delivery) not in aside]
        verdicts = iter(self._handle(rest) if rest else ())
        return [Verdict.DONE if id(delivery) in aside else next(verdicts) for delivery in deliveries]

    def _seconds_to_wait(self, delivery: Delivery) -> float:
        """Until its turn; 0 = now."""
        if TURN_HEADER in (delivery.properties.get("headers") or {}):
            return 0.0
        named = _PARTNER.search(delivery.body)
        if named is None:
            return 0.0  # nobody's, so not a message of ours: refused at once
        partner = named[1]
        cost = (1 + len(delivery.body) / BYTES_PER_TURN) / self._share.per_second
        with self._lock:
            now = monotonic()
            turn = max(now, self._next_turn.get(partner, now))
            if len(self._next_turn) > _FORGET_ABOVE:
                self._next_turn = {who: when for who, when in self._next_turn.items() if when > now}
            self._next_turn[partner] = turn + cost
        wait = turn - now - self._share.burst_seconds
        return max(0.0, wait)

    def _set_aside(self, later: Sequence[tuple[Delivery, float]]) -> bool:
        """Whether they are safe in the outbox; otherwise they are handled as if it were their turn."""
        try:
            with self._database.begin() as tx:
                outbox.put_later(tx, [(self._closed(_row(delivery)), seconds) for delivery, seconds in later])
        except Exception as error:  # noqa: BLE001 - handled now, whatever stands in the way of handling it later
            log.warning("messages.not_set_aside", queue=later[0][0].queue, error=type(error).__name__)
            return False
        log.info("messages.set_aside", queue=later[0][0].queue, count=len(later), longest=max(s for _, s in later))
        return True


def _row(delivery: Delivery) -> OutboxRow:
    headers = {**(delivery.properties.get("headers") or {}), TURN_HEADER: True}
    properties = {**delivery.properties, "headers": headers}
    return OutboxRow(0, delivery.message_id or "", 0, "", delivery.queue, properties, delivery.body)

"""Turns: a partner that floods the worker with messages delays nobody but itself.

Queues are first in, first out. So what a partner sends faster than its share is set aside, unread, by a thread of its
own: as rows of the outbox, which bring it back to its queue at its turn.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog

from messages import MAX_PROPERTIES
from store import Database, outbox
from store.outbox import OutboxRow
from store.properties import TURN_HEADER, encoded_size
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
"""By kind; a kind without a share is never late."""


@dataclass(frozen=True)
class Late:
    """A delivery that is over its partner's share, and the seconds until its turn."""

    delivery: Delivery
    seconds: float


class Turns:
    """Knows whose turn it is. `closed` gives a row as it may be stored, `handle` handles what cannot be set aside."""

    def __init__(
        self,
        shares: Mapping[str, Share],
        database: Database,
        closed: Callable[[OutboxRow], OutboxRow],
        handle: Callable[[Sequence[Delivery]], list[Verdict]],
    ) -> None:
        self._shares, self._database, self._closed, self._handle = shares, database, closed, handle
        self._next_turn: dict[tuple[str, bytes], float] = {}

    def late(self, delivery: Delivery) -> Late | None:
        """Count it on its partner's share; None = it is its turn. Call it from one thread only."""
        share = self._shares.get(delivery.kind)
        if share is None or TURN_HEADER in (delivery.properties.get("headers") or {}):
            return None
        named = _PARTNER.search(delivery.body)
        if named is None:
            return None  # nobody's, so not a message of ours: refused at once
        who, now = (delivery.kind, named[1]), monotonic()
        turn = max(now, self._next_turn.get(who, now))
        if len(self._next_turn) > _FORGET_ABOVE:
            self._next_turn = {who: when for who, when in self._next_turn.items() if when > now}
        self._next_turn[who] = turn + (1 + len(delivery.body) / BYTES_PER_TURN) / share.per_second
        wait = turn - now - share.burst_seconds
        # What is to be refused for its size cannot come back from the outbox: the header of its turn would be too much.
        return Late(delivery, wait) if wait > 0 and encoded_size(delivery.properties) <= MAX_PROPERTIES else None

    def set_aside(self, late: Sequence[Late]) -> list[Verdict]:
        """Put them into the outbox, in one transaction; what cannot be is handled as if it were its turn."""
        try:
            with self._database.begin() as tx:
                outbox.put_later(tx, [(self._closed(_row(one.delivery)), one.seconds) for one in late])
        except Exception as error:  # noqa: BLE001 - handled now, whatever stands in the way of handling it later
            log.warning("messages.not_set_aside", count=len(late), error=type(error).__name__)
            return [verdict for one in late for verdict in self._handle([one.delivery])]
        log.info("messages.set_aside", count=len(late), longest=max(one.seconds for one in late))
        return [Verdict.DONE] * len(late)


def _row(delivery: Delivery) -> OutboxRow:
    headers = {**(delivery.properties.get("headers") or {}), TURN_HEADER: True}
    properties = {**delivery.properties, "headers": headers}
    return OutboxRow(0, delivery.message_id or "", 0, "", delivery.queue, properties, delivery.body)

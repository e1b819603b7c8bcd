"""Turns: what would be in others' way is deferred, unread, by a thread of its own.

Queues are first in, first out. So what a partner sends faster than its share, and what is large, becomes a row of the
outbox that a worker handles from there at its turn (`deferred.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from messages import MAX_PROPERTIES
from store import Database, outbox
from store.amqp_properties import encoded_size
from store.outbox import OutboxRow
from store.schema import EXCHANGE_DEFERRED
from worker.messaging.broker import Delivery, Settlement
from worker.messaging.rates import PartnerRates, partner_of
from worker.messaging.store_retry import GivenUp, StoreRetry

LARGE = 256 * 1024
"""Bytes of a message that takes long to handle, and memory: of these few are in hand at a time."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Late:
    """A delivery to be deferred, whose it is, and the seconds until its turn."""

    delivery: Delivery
    partner_id: str
    seconds: float


class FairShare:
    """Knows whose turn it is. `closed` gives a row as it may be stored, `handle` handles what cannot be deferred."""

    def __init__(
        self,
        shares: PartnerRates,
        database: Database,
        closed: Callable[[OutboxRow], OutboxRow],
        handle: Callable[[Sequence[Delivery]], list[Settlement]],
        patience: StoreRetry,
    ) -> None:
        self._shares, self._database, self._closed, self._handle = shares, database, closed, handle
        self._patience = patience

    def late(self, delivery: Delivery) -> Late | None:
        """Count it on its partner's share; None = it is its turn."""
        partner_id = partner_of(delivery.body)
        if partner_id is None or encoded_size(delivery.properties) > MAX_PROPERTIES:
            return None  # refused at once
        wait = self._shares.wait(delivery.kind, partner_id, len(delivery.body))
        return Late(delivery, partner_id, wait) if wait or len(delivery.body) > LARGE else None

    def defer(self, late: Sequence[Late]) -> list[Settlement]:
        """Put them into the outbox, in one transaction; what cannot be is handled as if it were its turn."""
        try:
            self._patience.do(lambda: self._store(late))
        except GivenUp:
            return [Settlement.RELEASE] * len(late)
        except Exception as error:  # noqa: BLE001 - handled now, whatever stands in the way of handling it later
            if len(late) > 1:
                return [verdict for one in late for verdict in self.defer([one])]
            log.warning("message.not_deferred", message_id=late[0].delivery.message_id, error=type(error).__name__)
            return self._handle([late[0].delivery])
        log.info("messages.deferred", count=len(late), longest=max(one.seconds for one in late))
        return [Settlement.ACK] * len(late)

    def _store(self, late: Sequence[Late]) -> None:
        rows = [(self._closed(_row(one)), one.seconds) for one in late]
        with self._database.begin() as tx:
            outbox.defer(tx, rows)


def _row(late: Late) -> OutboxRow:
    delivery = late.delivery
    name, properties = delivery.message_id or "", dict(delivery.properties)
    return OutboxRow(0, name, 0, EXCHANGE_DEFERRED, delivery.queue, properties, delivery.body, late.partner_id)

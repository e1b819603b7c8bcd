"""Messages above a partner's rate, and large ones, are deferred through the outbox, so that no other partner waits.

Queues are first in, first out. A deferred message is stored unread, and handled from the outbox when it is due
(`deferred.py`).
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
from worker.messaging.store_retry import StoreNotReady, StoreRetry

# A message of this size takes long to handle, and memory, so few of them are handled at a time.
LARGE_BYTES = 256 * 1024

log = structlog.get_logger()


@dataclass(frozen=True)
class Deferral:
    """A delivery to be deferred, its partner, and the seconds until it is due."""

    delivery: Delivery
    partner_id: str
    seconds: float


class FairShare:
    """Defers messages. `sealed` gives a row as it may be stored; `handle` handles what cannot be deferred."""

    def __init__(
        self,
        rates: PartnerRates,
        database: Database,
        sealed: Callable[[OutboxRow], OutboxRow],
        handle: Callable[[Sequence[Delivery]], list[Settlement]],
        store_retry: StoreRetry,
    ) -> None:
        self._rates, self._database, self._sealed, self._handle = rates, database, sealed, handle
        self._store_retry = store_retry

    def deferral(self, delivery: Delivery) -> Deferral | None:
        """Count a delivery against its partner's rate. None = it is to be handled now."""
        partner_id = partner_of(delivery.body)
        if partner_id is None or encoded_size(delivery.properties) > MAX_PROPERTIES:
            return None  # its handling rejects it
        seconds = self._rates.wait(delivery.kind, partner_id, len(delivery.body))
        return Deferral(delivery, partner_id, seconds) if seconds or len(delivery.body) > LARGE_BYTES else None

    def defer(self, deferrals: Sequence[Deferral]) -> list[Settlement]:
        """Put deliveries into the outbox, in one transaction; one that cannot be stored is handled now."""
        try:
            self._store_retry.do(lambda: self._store(deferrals))
        except StoreNotReady:
            return [Settlement.RELEASE] * len(deferrals)
        except Exception as error:  # noqa: BLE001 - handled now, whatever stands in the way of handling it later
            if len(deferrals) > 1:
                return [settlement for deferral in deferrals for settlement in self.defer([deferral])]
            delivery = deferrals[0].delivery
            log.warning("message.not_deferred", message_id=delivery.message_id, error=type(error).__name__)
            return self._handle([delivery])
        log.info("messages.deferred", count=len(deferrals), longest=max(deferral.seconds for deferral in deferrals))
        return [Settlement.ACK] * len(deferrals)

    def _store(self, deferrals: Sequence[Deferral]) -> None:
        rows = [(self._sealed(_row(deferral)), deferral.seconds) for deferral in deferrals]
        with self._database.begin() as tx:
            outbox.defer(tx, rows)


def _row(deferral: Deferral) -> OutboxRow:
    delivery = deferral.delivery
    name, properties = delivery.message_id or "", dict(delivery.properties)
    return OutboxRow(0, name, 0, EXCHANGE_DEFERRED, delivery.queue, properties, delivery.body, deferral.partner_id)

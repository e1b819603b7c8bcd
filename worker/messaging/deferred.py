"""Deferred messages are handled from the outbox, one of each partner in turn (see `fair_share.py` for which they are).

They do not go back to their queue, where they would delay all messages behind them.
"""

from collections.abc import Callable, Collection

from store import Database, outbox
from store.outbox import OutboxRow
from worker.health import Readiness
from worker.messaging import outbox_consumer
from worker.messaging.broker import Deliver
from worker.messaging.outbox_consumer import OutboxConsumer
from worker.topology import Topology

# Messages in hand, each of another partner.
AT_ONCE = 2


class Deferred(OutboxConsumer):
    """Takes the oldest of each partner in turn, except of `partners_over_rate`."""

    _kind = "deferred"

    def __init__(
        self,
        database: Database,
        topology: Topology,
        unsealed: Callable[[OutboxRow], OutboxRow],
        readiness: Readiness,
        partners_over_rate: Callable[[], Collection[str]],
    ) -> None:
        super().__init__(database, topology, unsealed, readiness, "deferred")
        self._owing = partners_over_rate
        self._served: set[str] = set()

    def _take(self, deliver: Deliver) -> bool:
        if len(self._in_hand) >= AT_ONCE:
            return False
        taken = self._take_except(deliver, self._served)
        if not taken and self._served:
            self._served.clear()
            taken = self._take_except(deliver, ())
        return taken

    def _take_except(self, deliver: Deliver, served: Collection[str]) -> bool:
        busy = {row.partner_id or "" for row, _ in self._in_hand.values()}
        with self._database.begin() as tx:
            claimed = outbox.claim_deferred(tx, outbox_consumer.CLAIM_SECONDS, but={*served, *busy, *self._owing()})
        for row in self._read(claimed):
            self._served.add(row.partner_id or "")
            queues = [queue for queue in self.topology.routes("", row.routing_key) if queue.kind is not None]
            if queues:
                self._deliver(deliver, row, claimed.token, queues)
            else:
                self._dead_letter_row(row, f"no queue {row.routing_key} is handled here")
        return bool(claimed.ids)

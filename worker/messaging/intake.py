"""Each delivery goes to the handler pool of its kind, or to the outbox if its partner's rate or its size defers it.

One message's way in: rabbitmq/consuming (or embedded) → here → fair_share → handler_pool → dispatcher → handlers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from worker.messaging import deferred
from worker.messaging.broker import Delivery, Settle, Settlement
from worker.messaging.fair_share import FairShare
from worker.messaging.handler_pool import HandlerPool
from worker.messaging.rates import partner_of
from worker.topology import KIND_DEAD

THREADS = {
    "connection.changed.v1": 1,
    "connection.check_requested.v1": 1,
    "mapping.changed.v1": 2,
    "mapping.check_requested.v1": 1,
    "push.requested.v1": 4,
    "push.cancel_requested.v1": 1,
    "catalog.requested.v1": 2,
    "revert.requested.v1": 1,
    KIND_DEAD: 1,
}
# Messages of a kind that are handled at once. Batch handlers, and rejections, take one transaction for all of them.
BATCHES = {
    "connection.changed.v1": 100,
    "mapping.changed.v1": 100,
    "push.requested.v1": 10,
    "catalog.requested.v1": 20,
    "revert.requested.v1": 10,
    KIND_DEAD: 100,
}
DEFERRED_AT_ONCE = 200


class Intake:
    """The handler pools of a worker: one a kind, one that defers, and `deferred` for messages from the outbox."""

    def __init__(self, fair_share: FairShare, handle: Callable[[Sequence[Delivery]], list[Settlement]]) -> None:
        self._fair_share = fair_share
        self._by_kind = {
            kind: HandlerPool(kind, handle, threads=threads, batch=BATCHES.get(kind, 1), size=_size, owner=_partner)
            for kind, threads in THREADS.items()
        }
        self._deferring = HandlerPool(
            "deferring", fair_share.defer, threads=1, batch=DEFERRED_AT_ONCE, size=lambda item: _size(item.delivery)
        )
        self.deferred = HandlerPool("deferred", handle, threads=deferred.AT_ONCE)

    def deliver(self, delivery: Delivery, settle: Settle) -> None:
        """Have a delivery handled or deferred, and settled after that. Does not block."""
        deferral = self._fair_share.deferral(delivery)
        if deferral is None:
            self._by_kind[delivery.kind].put(delivery, settle)
        else:
            self._deferring.put(deferral, settle)

    def stop(self, until: float) -> bool:
        """Let all threads end after what they have. Returns False if some still run at this monotonic time."""
        pools: list[HandlerPool[Any]] = [*self._by_kind.values(), self._deferring, self.deferred]
        stopped = [pool.stop(until) for pool in pools]
        return all(stopped)


def _size(delivery: Delivery) -> int:
    return len(delivery.body)


def _partner(delivery: Delivery) -> str | None:
    """Return the partner: a small message may have an effect on ten thousand lines, for which no other waits."""
    return partner_of(delivery.body)

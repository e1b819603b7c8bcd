"""The pool of leased partners: it claims the leases of due partners, and starts a run of each."""

from contextvars import copy_context
from functools import partial
from threading import Event
from time import monotonic

import structlog

from store import StoreError, leases
from worker.health import Readiness
from worker.sync.context import RunContext
from worker.sync.run_threads import RunThreads
from worker.sync.supervisor import supervise

POLL_SECONDS = 0.05
TROUBLE_SECONDS = 1.0
# Leases claimed in one transaction: other workers take their share of many.
CLAIM_LIMIT = 16
# A worker that is busy takes no more partners than it must, lest each waits for all others: one in so many seconds.
BUSY_SECONDS = 0.5

log = structlog.get_logger()


class PartnerPool:
    """Up to `size` partners, side by side."""

    def __init__(self, context: RunContext, size: int, readiness: Readiness) -> None:
        self._context, self._size, self._readiness = context, size, readiness
        self._threads = RunThreads(self._note_failure)
        self._claimed_at = 0.0

    def run(self, stop: Event) -> None:
        """Claim due partners until `stop`."""
        while not stop.is_set():
            pause = POLL_SECONDS
            try:
                self._claim()
                self._readiness.fine("partners")
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))
                pause = TROUBLE_SECONDS
            stop.wait(pause)
        self._threads.wake_all()

    def stop(self, until: float) -> bool:
        """Let all runs end. Returns False if some still go on at this monotonic time."""
        return self._threads.stop(until)

    def _claim(self) -> None:
        """Claim as many as there is room for, and start their runs."""
        at = monotonic()
        room = min(self._size - len(self._threads), CLAIM_LIMIT)
        if self._threads.are_busy:
            room = min(room, 1 if at >= self._claimed_at + BUSY_SECONDS else 0)
        if room <= 0:
            return
        with self._context.database.begin() as tx:
            claimed = leases.claim(tx, room)
        for lease in claimed:
            self._claimed_at = at
            with structlog.contextvars.bound_contextvars(partner=lease.partner_id):
                self._threads.start(copy_context(), partial(supervise, self._context, lease, at + leases.LEASE_SECONDS))

    def _note_failure(self, error: Exception) -> None:
        self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))

"""The pool of leased partners: it claims the leases of due partners, and starts a run of each."""

from contextvars import copy_context
from functools import partial
from threading import Event
from time import monotonic, process_time

import structlog

from store import StoreError, leases
from store.due_watch import LOOK_SECONDS
from worker.health import Readiness
from worker.sync.context import RunContext
from worker.sync.run_threads import RunThreads
from worker.sync.supervisor import supervise

POLL_SECONDS = 0.05
TROUBLE_SECONDS = 1.0
# So many partners are always served side by side, and more while the process has CPU left: twice as many at each poll.
# One that is busy serves as many lines with few partners as with many, but those of few in larger batches. So it has
# no more of them than calls that wait for ConnectWise alone, which is slow then, but so many at least.
AT_LEAST = 4
# Leases claimed in one transaction: other workers take their share of many.
CLAIM_LIMIT = 64
# The process is busy if it used so much of a core since the last poll, or a ready run had to wait so long for a
# thread: one that shares its core, or has a quota, never uses so much, and one whose database is slow needs no more.
BUSY_SHARE, BUSY_WAIT = 0.8, 0.03
# One that stays busy takes one more partner after this: nobody waits for ever.
PATIENCE_SECONDS = 2.0


class PartnerPool:
    """Up to `size` partners, side by side."""

    def __init__(self, context: RunContext, size: int, readiness: Readiness) -> None:
        self._context, self._size, self._readiness = context, size, readiness
        self._runs = RunThreads(self._note_failure)
        self._claimed_at = 0.0
        self._limit = AT_LEAST
        self._polled_at, self._cpu = monotonic(), process_time()

    def run(self, stop: Event) -> None:
        """Claim due partners until `stop`."""
        while not stop.is_set():
            self._readiness.tick("partners")
            try:
                self._claim()
                self._readiness.fine("partners")
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))
                stop.wait(TROUBLE_SECONDS)
                continue
            # While runs are under way a steady pace tells how busy the process is.
            if len(self._runs):
                stop.wait(POLL_SECONDS)
            else:
                self._context.database.wakeups.wait("partners", LOOK_SECONDS)
        self._runs.wake_all()

    def stop(self, until: float) -> bool:
        """Let all runs end. Returns False if some still go on at this monotonic time."""
        return self._runs.stop(until)

    def _claim(self) -> None:
        """Claim as many as there is room for, and start their runs."""
        at, room = monotonic(), self._room()
        if room <= 0:
            return
        with self._context.database.begin(autocommit=True) as tx:
            claimed = leases.claim(tx, room)
        for lease in claimed:
            self._claimed_at = at
            with structlog.contextvars.bound_contextvars(partner=lease.partner_id):
                self._runs.start(copy_context(), partial(supervise, self._context, lease, at + leases.LEASE_SECONDS))

    def _room(self) -> int:
        """Return the number of partners to claim now at most."""
        active, at, cpu = len(self._runs), monotonic(), process_time()
        share = (cpu - self._cpu) / max(at - self._polled_at, POLL_SECONDS)
        self._polled_at, self._cpu = at, cpu
        longest_wait = self._runs.take_longest_wait()
        if share > BUSY_SHARE or longest_wait > BUSY_WAIT:
            self._limit = 1 if at > self._claimed_at + PATIENCE_SECONDS else 0
        else:
            self._limit = min(max(1, 2 * self._limit), CLAIM_LIMIT)
        at_least = max(AT_LEAST, self._context.calls.waiting())
        return min(max(self._limit, at_least - active), self._size - active, CLAIM_LIMIT)

    def _note_failure(self, error: Exception) -> None:
        self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))

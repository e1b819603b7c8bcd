"""The pool of leased partners: it claims the leases of due partners, and runs each on a thread of its own."""

from threading import Event, Lock, Thread, current_thread
from time import monotonic

from store import StoreError, leases
from store.leases import Lease
from worker.health import Readiness
from worker.sync.context import RunContext
from worker.sync.supervisor import supervise

POLL_SECONDS = 0.05
TROUBLE_SECONDS = 1.0
# Leases claimed in one transaction.
CLAIM_LIMIT = 50


class PartnerPool:
    """Up to `size` partners, side by side."""

    def __init__(self, context: RunContext, size: int, readiness: Readiness) -> None:
        self._context, self._size, self._readiness = context, size, readiness
        self._lock = Lock()
        self._threads: set[Thread] = set()

    def run(self, stop: Event) -> None:
        """Claim due partners until `stop`."""
        while not stop.is_set():
            pause = POLL_SECONDS
            try:
                pause = 0.0 if self._claim() else POLL_SECONDS
                self._readiness.fine("partners")
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))
                pause = TROUBLE_SECONDS
            stop.wait(pause)

    def join(self, until: float) -> bool:
        """Wait for all runs, at most until this monotonic time; False = some still go on."""
        for thread in list(self._threads):
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in list(self._threads))

    def _claim(self) -> bool:
        """Claim as many as there is room for; True = there may be more."""
        room = min(self._size - len(self._threads), CLAIM_LIMIT)
        if room <= 0:
            return False
        until = monotonic() + leases.LEASE_SECONDS
        with self._context.database.begin() as tx:
            claimed = leases.claim(tx, room)
        for lease in claimed:
            thread = Thread(target=self._run, args=(lease, until), name=f"partner {lease.partner_id}", daemon=True)
            with self._lock:
                # Under the lock, so that it does not end before it is noted, nor is noted if it cannot begin.
                thread.start()
                self._threads.add(thread)
        return len(claimed) == room

    def _run(self, lease: Lease, until: float) -> None:
        thread = current_thread()
        try:
            supervise(self._context, lease, until)
        except StoreError as error:
            self._readiness.trouble("partners", error)
        finally:
            with self._lock:
                self._threads.discard(thread)

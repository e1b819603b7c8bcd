"""Due partners: their leases are taken as threads are free, and each is served on a thread of its own."""

from threading import Event, Lock, Thread, current_thread
from time import monotonic

from store import StoreError, leases
from store.leases import Lease
from worker.health import Readiness
from worker.sync.context import RunContext
from worker.sync.partner import serve

POLL_SECONDS = 0.05
TROUBLE_SECONDS = 1.0
AT_ONCE = 50
"""Leases taken in one transaction."""


class PartnerPool:
    """Serves up to `most` partners side by side."""

    def __init__(self, tools: RunContext, most: int, readiness: Readiness) -> None:
        self._tools, self._most, self._readiness = tools, most, readiness
        self._lock = Lock()
        self._served: set[Thread] = set()

    def run(self, stop: Event) -> None:
        """Take up due partners until `stop`."""
        while not stop.is_set():
            pause = POLL_SECONDS
            try:
                pause = 0.0 if self._take_up() else POLL_SECONDS
                self._readiness.fine("partners")
            except Exception as error:  # noqa: BLE001 - readiness tells it
                self._readiness.trouble("partners", error, expected=isinstance(error, StoreError))
                pause = TROUBLE_SECONDS
            stop.wait(pause)

    def join(self, until: float) -> bool:
        """Wait for all that are served, at most until this monotonic time; whether none is left."""
        for thread in list(self._served):
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in list(self._served))

    def _take_up(self) -> bool:
        """Take up some; whether there may be more."""
        room = min(self._most - len(self._served), AT_ONCE)
        if room <= 0:
            return False
        until = monotonic() + leases.LEASE_SECONDS
        with self._tools.database.begin() as tx:
            taken = leases.claim(tx, room)
        for lease in taken:
            thread = Thread(target=self._serve, args=(lease, until), name=f"partner {lease.partner_id}", daemon=True)
            with self._lock:
                # Under the lock, so that it does not end before it is noted, nor is noted if it cannot begin.
                thread.start()
                self._served.add(thread)
        return len(taken) == room

    def _serve(self, lease: Lease, until: float) -> None:
        thread = current_thread()
        try:
            serve(self._tools, lease, until)
        except StoreError as error:
            self._readiness.trouble("partners", error)
        finally:
            with self._lock:
                self._served.discard(thread)

"""The guard of a run: kept current by the run's own thread, asked by its calls before a request leaves."""

from dataclasses import dataclass
from threading import Event
from time import monotonic

from store.connections import ConnectionVersion
from worker.connectwise.circuit_breaker import CircuitBreaker
from worker.connectwise.rate_limit import RequestBudget
from worker.rules.errors import NotStarted

LEASE_LEFT_FOR_PATCH = 5.0
# A PATCH starts within this time of its ledger row's opening; later it is decided anew.
START_WITHIN = 10.0


@dataclass
class Guard:
    """The reasons for making no call.

    `lease_until` is monotonic, 0 once the run has ended. `is_paused`: an operator wants ConnectWise to be left alone.
    `slice_until`, monotonic: then it is other partners' turn. `connection` is called; `is_outdated`: another version of
    it is stored by now. `is_woken`: what came since the due work was loaded, such as a newer push, goes first.
    """

    draining: Event
    circuit: CircuitBreaker
    budget: RequestBudget
    lease_until: float
    is_paused: bool
    slice_until: float
    connection: ConnectionVersion | None = None
    is_outdated: bool = False
    is_woken: bool = False

    @property
    def must_stop(self) -> bool:
        """True if nothing new is to be begun: the worker drains, or ConnectWise is to be left alone."""
        return self.draining.is_set() or self.is_paused or self.circuit.is_open

    @property
    def may_read(self) -> bool:
        """True if the next addition may be read."""
        is_current = not self.is_woken and not self.is_outdated
        return is_current and not self.must_stop and monotonic() <= min(self.slice_until, self.lease_until)

    def is_current(self, connection: ConnectionVersion | None) -> bool:
        """True if this version of the connection is the one that is called."""
        current = self.connection
        return connection is not None and current is not None and current.version == connection.version

    def check_write(self, start_by: float) -> None:
        """Raise NotStarted if a PATCH must not leave. An operator's pause lets those go whose ledger row is open."""
        late = monotonic() > min(start_by, self.lease_until - LEASE_LEFT_FOR_PATCH)
        if late or self.is_outdated or self.circuit.is_open or self.draining.is_set():
            raise NotStarted

    def wait_for_page(self, connection: ConnectionVersion | None) -> None:
        """Wait, in a thread of the pool, until the next page of a list may be asked for; else raise NotStarted."""
        while True:
            late = monotonic() > self.lease_until
            if late or self.must_stop or self.is_outdated or not self.is_current(connection):
                raise NotStarted
            # A page came: lines need not wait for the whole list to see that ConnectWise answers and takes the keys.
            self.circuit.answered = True
            seconds = self.budget.seconds_to_wait()
            if not seconds:
                return
            self.draining.wait(seconds)

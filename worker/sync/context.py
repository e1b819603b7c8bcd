"""The tools that runs work with: made once by app.py, for all runs of a worker."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

from cwclient import CallBudget
from store import Database
from store.connections import ConnectionVersion
from worker.connectwise.rate_limit import RequestBudget
from worker.connectwise.session import ConnectWiseSession
from worker.rules.quantities import JumpLimits

CALLS_AT_ONCE = 4
LEASE_LEFT_FOR_PATCH = 5.0
# A PATCH starts within this time of its ledger row's opening; later it is decided anew.
START_WITHIN = 10.0


@dataclass(frozen=True)
class RunContext:
    """One for all runs of a worker. `draining` set = start nothing new."""

    database: Database
    calls: Executor
    connect: Callable[[ConnectionVersion, RequestBudget], ConnectWiseSession]
    call_budget: CallBudget
    retry_for: timedelta
    unusual: JumpLimits
    draining: Event = field(default_factory=Event)

    @property
    def call_seconds(self) -> float:
        """Counted from the opening of a ledger row: after this its PATCH is certainly over."""
        return START_WITHIN + self.call_budget.total + LEASE_LEFT_FOR_PATCH

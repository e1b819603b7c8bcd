"""The context of all runs of a worker: made once, by app.py."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

from cwclient import CallBudget
from store import Database
from store.connections import ConnectionVersion
from worker.connectwise.rate_limit import RequestBudget
from worker.connectwise.session import ConnectWiseSession
from worker.rules.quantities import JumpLimits
from worker.sync import guard
from worker.sync.call_pool import CallPool

CALLS_AT_ONCE = 4


@dataclass(frozen=True)
class RunContext:
    """One for all runs of a worker. `draining` set = start nothing new."""

    database: Database
    calls: CallPool
    connect: Callable[[ConnectionVersion, RequestBudget], ConnectWiseSession]
    call_budget: CallBudget
    retry_for: timedelta
    unusual: JumpLimits
    draining: Event = field(default_factory=Event)

    def call_seconds(self, limit: float | None) -> float:
        """Counted from the opening of a ledger row: after this its PATCH, of `limit` seconds, is certainly over."""
        total = self.call_budget.total if limit is None else min(limit, self.call_budget.total)
        return guard.START_WITHIN + total + guard.LEASE_LEFT_FOR_PATCH

"""The health of a partner's ConnectWise after a call. Chance and time are passed in."""

from dataclasses import replace
from datetime import datetime, timedelta

from cwclient import RateLimited, Unreachable
from store.leases import Health
from worker.rules import retry
from worker.rules.errors import NotStarted
from worker.rules.outcomes import ErrorOutcome, PausePartner

# So many failures in a row to reach a ConnectWise pause its partner.
UNREACHABLE_IN_A_ROW = 3


def health_after(
    health: Health,
    error: BaseException | None,
    outcome: ErrorOutcome | None,
    now: datetime,
    *,
    chance: float,
    longest: float = retry.RETRY_MAX,
) -> Health:
    """Return the health after a call that ended with this error and outcome; None = it succeeded."""
    if isinstance(error, NotStarted):
        return health
    if isinstance(outcome, PausePartner):
        until = now + timedelta(seconds=outcome.seconds)
        if health.paused_until is not None and health.paused_until > until:
            return health
        limited_since = (health.limited_since or now) if isinstance(error, RateLimited) else None
        return Health(until, outcome.problem.code, limited_since=limited_since, failed_runs=health.failed_runs)
    if not isinstance(error, Unreachable):
        return replace(health, unreachable_count=0, unreachable_since=None, limited_since=None)
    count = health.unreachable_count + 1
    failed = replace(health, unreachable_count=count, unreachable_since=health.unreachable_since or now)
    if count < UNREACHABLE_IN_A_ROW:
        return failed
    pause = retry.backoff(count - UNREACHABLE_IN_A_ROW, chance, longest)
    until = now + timedelta(seconds=max(pause, error.retry_after or 0.0))
    if health.paused_until is not None and health.paused_until > until:
        return failed
    return replace(failed, paused_until=until, paused_why="unreachable")

"""The run's experience of its partner's ConnectWise: does it answer, is it to be left alone, has all failed?"""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from messages import Problem
from store import Tx, leases
from store.leases import Health
from worker.rules.errors import NotStarted
from worker.rules.health import health_after
from worker.rules.outcomes import ErrorOutcome, FailLine, FailPartner, classify
from worker.rules.problems import exhausted
from worker.rules.retry import RATE_LIMITED_FOR, is_given_up, longest_wait, seconds_for_call

log = structlog.get_logger()

PROBED = ("unreachable", "client_id", "api_version", "request_refused", "moved")
"""Pauses that a check of the connection, asked for by a person, does not wait for: what it finds may be mended."""


def half_open(health: Health) -> Health:
    """The health with a pause of that kind ended; how often the server was out of reach stays known."""
    return replace(health, paused_until=None, paused_why=None) if health.paused_why in PROBED else health


@dataclass
class CircuitBreaker:
    """Starts from what the last run stored; `stop` set = every open line of the partner fails for this reason."""

    retry_for: timedelta
    stored: Health
    health: Health = field(init=False)
    answered: bool = False
    stop: FailPartner | None = None

    def __post_init__(self) -> None:
        self.health = self.stored

    @property
    def open_until(self) -> datetime | None:
        """When to look after it again: at the end of the pause, or when it has been silent for too long."""
        until, since = self.health.paused_until, self.health.unreachable_since
        if until is None or since is None or self.health.paused_why != "unreachable":
            return until
        return min(until, since + self.retry_for)

    def seconds_for_call(self, first_failed_at: datetime | None, now: datetime) -> float | None:
        """Seconds that a call for a line may take which has been failing since then. None = any."""
        return seconds_for_call((first_failed_at, self.health.unreachable_since), now, self.retry_for)

    def end_passed_pause(self, now: datetime) -> None:
        """Forget a pause that has passed; how often the server was out of reach stays known."""
        if self.health.paused_until is not None and self.health.paused_until <= now:
            self.health = replace(self.health, paused_until=None, paused_why=None)

    def half_open(self) -> None:
        """Somebody asks whether ConnectWise can be reached by now."""
        self.health = half_open(self.health)

    @property
    def is_open(self) -> bool:
        """True if nothing new is to be asked of ConnectWise now."""
        return self.stop is not None or self.health.paused_until is not None

    @property
    def is_proven(self) -> bool:
        """True if it answers and takes the keys; until then one call at a time, so wrong keys are no hammering."""
        return self.answered and not self.health.unreachable_count

    def note_success(self, now: datetime) -> None:
        """ConnectWise answered: it can be reached, and takes the keys."""
        self.answered = True
        self.health = health_after(self.health, None, None, now, chance=0.0)

    def note_failure(self, error: BaseException, now: datetime, *, attempts: int = 0) -> ErrorOutcome:
        """Judge an error of a call, and learn from it."""
        chance, again, longest = random.random(), random.random(), longest_wait(self.retry_for)  # noqa: S311 - jitter
        verdict = classify(error, attempts=attempts, chance=chance, longest=longest)
        _alert(error, verdict)
        self.health = health_after(self.health, error, verdict, now, chance=again, longest=longest)
        self.answered = self.answered or isinstance(verdict, FailLine)
        if isinstance(verdict, FailPartner):
            self.stop = self.stop or verdict
        else:
            self.give_up(verdict.problem, now)
        return verdict

    def give_up(self, last: Problem, now: datetime) -> None:
        """Fail all if it has been left alone for too long, also while it asks for a longer pause; `last`: why."""
        silent_since = self.health.unreachable_since if self.health.paused_until else None
        if is_given_up(silent_since, now, self.retry_for) or is_given_up(
            self.health.limited_since, now, RATE_LIMITED_FOR
        ):
            self.stop = FailPartner(exhausted(last), "exhausted")
            self.health = Health()

    def forget_outage(self) -> None:
        """Forget since when it has been silent or limited: next time, giving up is counted from then."""
        self.health = replace(self.health, unreachable_count=0, unreachable_since=None, limited_since=None)

    def note_clean_run(self) -> None:
        """The run went as it should."""
        self.health = replace(self.health, failed_runs=0)

    def store(self, tx: Tx, partner_id: str) -> None:
        """Keep it for the next run, if it has changed."""
        if self.health != self.stored:
            leases.save_health(tx, partner_id, self.health)
            self.stored = self.health


def _alert(error: BaseException, verdict: ErrorOutcome) -> None:
    """Log as an error what is ours to mend; all else is the partner's, or passes."""
    match verdict.problem.code:
        case "client_id":
            log.error("client_id.refused", said=verdict.problem.said)
        case "api_version":
            log.error("api_version.refused", said=verdict.problem.said)
        case "request_refused":
            log.error("request.refused", error=str(error), said=verdict.problem.said)
        case "unexpected" if not isinstance(error, NotStarted):
            log.error("call.unexpected", exc_info=error)

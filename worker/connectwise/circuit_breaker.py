"""The circuit breaker of a run: after failures it stops calls to the partner's ConnectWise, for a while or for good.

Open: no call is begun (a pause, or `stop`). Half open: a person's check may call in spite of the pause.
"""

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
from worker.rules.retry import RATE_LIMITED_FOR, is_given_up, longest_wait, seconds_for_call, seconds_for_write

log = structlog.get_logger()

# Pauses that a check of the connection, asked for by a person, does not wait for: the cause may be mended by now.
PROBED = ("unreachable", "client_id", "api_version", "request_refused", "seal_key_missing", "moved")


def half_open(health: Health) -> Health:
    """Return the health without a pause of that kind. The count of failures to reach the server stays."""
    return _unpaused(health) if health.paused_why in PROBED else health


def _unpaused(health: Health) -> Health:
    return replace(health, paused_until=None, paused_why=None)


@dataclass
class CircuitBreaker:
    """The health of a partner's ConnectWise during a run, from the one that the last run `stored`.

    `answered`: it has answered and taken the keys. `stop`: every open line of the partner fails for this reason.
    """

    retry_for: timedelta
    stored: Health
    health: Health = field(init=False)
    answered: bool = False
    stop: FailPartner | None = None

    def __post_init__(self) -> None:
        self.health = self.stored

    @property
    def open_until(self) -> datetime | None:
        """The end of the pause, or the earlier time at which lines are given up."""
        until, since = self.health.paused_until, self.health.unreachable_since
        if until is None or since is None or self.health.paused_why != "unreachable":
            return until
        return min(until, since + self.retry_for)

    def seconds_for_call(self, first_failed_at: datetime | None, now: datetime) -> float | None:
        """Return the seconds that a read may take for a line that has been failing since then. None = no limit."""
        return seconds_for_call((first_failed_at, self.health.unreachable_since), now, self.retry_for)

    def seconds_for_write(self, first_failed_at: datetime | None, now: datetime) -> float | None:
        """Return the seconds that a write may take for a line that has been failing since then. None = no limit."""
        return seconds_for_write((first_failed_at, self.health.unreachable_since), now, self.retry_for)

    def end_passed_pause(self, now: datetime) -> None:
        """End a pause that has passed. The count of failures to reach the server stays."""
        if self.health.paused_until is not None and self.health.paused_until <= now:
            self.health = _unpaused(self.health)

    def half_open(self) -> None:
        """Let a person's check ask if ConnectWise can be reached by now."""
        self.health = half_open(self.health)

    @property
    def is_open(self) -> bool:
        """True if no call is to be begun."""
        return self.stop is not None or self.health.paused_until is not None

    @property
    def is_proven(self) -> bool:
        """True if ConnectWise answers and takes the keys. Until then one call is made at a time."""
        return self.answered and not self.health.unreachable_count

    def note_success(self, now: datetime) -> None:
        """Note an answer: ConnectWise can be reached, and takes the keys."""
        self.answered = True
        self.health = health_after(self.health, None, None, now, chance=0.0)

    def note_failure(self, error: BaseException, now: datetime, *, attempts: int = 0) -> ErrorOutcome:
        """Note an error of a call, and return its outcome."""
        longest = longest_wait(self.retry_for)
        outcome = classify(error, attempts=attempts, chance=random.random(), longest=longest)  # noqa: S311 - jitter
        _alert(error, outcome)
        chance = random.random()  # noqa: S311 - jitter
        self.health = health_after(self.health, error, outcome, now, chance=chance, longest=longest)
        self.answered = self.answered or isinstance(outcome, FailLine)
        if isinstance(outcome, FailPartner):
            self.stop = self.stop or outcome
        else:
            self.give_up(outcome.problem, now)
        return outcome

    def note_refused_question(self, error: BaseException) -> ErrorOutcome:
        """Return the outcome of an error that only questions meet: it is logged if it is ours, and stops no line."""
        outcome = classify(error, attempts=0, chance=0.0)
        _alert(error, outcome)
        return outcome

    def give_up(self, last: Problem, now: datetime) -> None:
        """Fail all lines if ConnectWise has been silent, or has limited requests, for too long; `last`: the cause."""
        silent_since = self.health.unreachable_since if self.health.paused_until else None
        if is_given_up(silent_since, now, self.retry_for) or is_given_up(
            self.health.limited_since, now, RATE_LIMITED_FOR
        ):
            self.stop = FailPartner(exhausted(last), "exhausted")
            self.health = Health()

    def forget_outage(self) -> None:
        """Forget an outage that no line waits for: the time to give up is counted from the next failure."""
        self.health = replace(self.health, unreachable_count=0, unreachable_since=None, limited_since=None)

    def note_clean_run(self) -> None:
        """Note a run that ended without a fault of ours."""
        self.health = replace(self.health, failed_runs=0)

    def store(self, tx: Tx, partner_id: str) -> None:
        """Store the health for the next run, if it has changed."""
        if self.health != self.stored:
            leases.save_health(tx, partner_id, self.health)
            self.stored = self.health


def _alert(error: BaseException, outcome: ErrorOutcome) -> None:
    """Log as an error what only we can mend; all else is the partner's, or passes."""
    match outcome.problem.code:
        case "client_id":
            log.error("client_id.refused", said=outcome.problem.said)
        case "api_version":
            log.error("api_version.refused", said=outcome.problem.said)
        case "seal_key_missing":
            log.error("seal_key.missing", error=str(error))
        case "request_refused":
            log.error("request.refused", error=str(error), said=outcome.problem.said)
        case "unexpected" if not isinstance(error, NotStarted):
            log.error("call.unexpected", exc_info=error)

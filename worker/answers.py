"""The message that says what became of a line."""

from datetime import datetime

from messages import Problem, SyncResult
from messages.results import LineStatus
from store.pushes import Line, Push
from worker.problems import problem


def result(
    line: Line,
    status: LineStatus,
    *,
    attempts: int,
    problem: Problem | None = None,
    before: float | None = None,
    wanted: float | None = None,
    after: float | None = None,
    next_attempt_at: datetime | None = None,
    unit_price: float | None = None,
    less_included: float | None = None,
    amount: float | None = None,
) -> SyncResult:
    """The next result of this line. Quantities are ConnectWise's, of the whole addition."""
    push: Push = line.push
    return SyncResult(
        partner_id=push.partner_id,
        correlation_id=push.correlation_id,
        causation_id=push.message_id,
        traceparent=push.traceparent,
        push_id=push.push_id,
        company_id=line.company_id,
        period=push.period,
        requested_at=push.requested_at,
        sequence=line.sequence + 1,
        status=status,
        quantity_before=_number(before),
        quantity_wanted=_number(wanted),
        quantity_after=_number(after),
        attempts=attempts,
        next_attempt_at=next_attempt_at,
        unit_price=_number(unit_price),
        less_included=_number(less_included),
        amount=_number(amount),
        problem=problem,
    )


def superseded(line: Line) -> SyncResult:
    """A newer wish took the place of this line's."""
    return result(line, "superseded", attempts=line.attempts, problem=problem("superseded"))


def _number(value: float | None) -> int | float | None:
    """Whole quantities as integers: 42, not 42.0."""
    return int(value) if value is not None and value == int(value) else value

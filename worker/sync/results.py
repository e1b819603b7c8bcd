"""The messages about lines: the result of each, for the platform and the coordinator's table.

Made by `commit` and `fail_open_lines`, and by the handlers that end lines.
"""

from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from cwclient import Addition
from messages import Problem, SyncResult
from messages.results import LineStatus
from store.pushes import Line, Push
from worker.rules.billable import is_billable
from worker.rules.problems import problem

# Made once: ten thousand lines may be superseded at a time.
_SUPERSEDED = problem("superseded")


@dataclass(frozen=True)
class Money:
    """The change that a preview shows, in money; None where the addition does not tell."""

    unit_price: float | None
    less_included: float | None
    difference: float
    amount: float | None
    amount_difference: float | None


def money(actual: Addition, wanted: float) -> Money:
    """(quantity - lessIncluded) x unitPrice, now and with the wanted quantity (connectwise-api.md 5.1).

    Nothing is billed for an addition that is not Billable: its quantity is counted for its cost only.
    """
    before, included = actual.quantity or 0.0, actual.less_included or 0.0
    rate = actual.unit_price if is_billable(actual) else 0.0
    # What is billed below the included quantity is not documented; nothing, by the name of the field.
    now, then = max(0.0, before - included), max(0.0, wanted - included)
    return Money(
        unit_price=actual.unit_price,
        less_included=actual.less_included,
        difference=wanted - before,
        amount=None if rate is None else round(then * rate, 2),
        amount_difference=None if rate is None else round((then - now) * rate, 2),
    )


def result(
    line: Line,
    status: LineStatus,
    *,
    attempts: int,
    problem: Problem | None = None,
    before: float | None = None,
    wanted: float | None = None,
    after: float | None = None,
    billable: bool | None = None,
    next_attempt_at: datetime | None = None,
    money: Money | None = None,
    perhaps_written: bool = False,
    reasons: tuple[Problem, ...] = (),
    warnings: tuple[Problem, ...] = (),
) -> SyncResult:
    """Return the next result of this line. Quantities are ConnectWise's, of the whole addition."""
    push: Push = line.push
    return SyncResult(
        partner_id=push.partner_id,
        correlation_id=push.correlation_id,
        causation_id=push.message_id,
        traceparent=push.traceparent,
        push_id=push.push_id,
        mode=push.mode,
        reverts=push.reverts,
        company_id=line.company_id,
        period=push.period,
        requested_at=push.requested_at,
        sequence=line.sequence + 1,
        status=status,
        quantity_before=number(before),
        quantity_wanted=number(wanted),
        quantity_after=number(after),
        billable=billable,
        attempts=attempts,
        next_attempt_at=next_attempt_at,
        unit_price=number(money.unit_price) if money else None,
        less_included=number(money.less_included) if money else None,
        difference=number(money.difference) if money else None,
        amount=number(money.amount) if money else None,
        amount_difference=number(money.amount_difference) if money else None,
        perhaps_written=perhaps_written,
        problem=problem,
        reasons=reasons or ((problem,) if problem is not None and status == "held" else ()),
        warnings=warnings,
    )


def superseded(line: Line) -> SyncResult:
    """Return the result of a line whose company and period a newer push has asked for."""
    return result(line, "superseded", attempts=line.attempts, problem=_SUPERSEDED)


def number(value: float | None) -> int | float | None:
    """Return a whole quantity as an integer: 42, not 42.0. None for a product too large for a number."""
    if value is None or not isfinite(value):
        return None
    return int(value) if value == int(value) else value

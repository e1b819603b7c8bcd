"""The completion of a push says which billing period has ended."""

from collections.abc import Callable
from typing import Literal

import pytest

from messages import BillingPeriod, PushCancelRequested, PushCompleted, PushRequested
from store import completions, pauses
from tests.support.case import Case
from tests.support.reverting import carried_out, completion_of, revert_of
from tests.support.waiting import wait_for
from tests.support.world import now

OCTOBER = BillingPeriod.parse("2026-10")


def _completed(case: Case, push: PushRequested) -> PushCompleted:
    def found() -> PushCompleted | None:
        with case.world.database.begin() as tx:
            return completions.of_push(tx, "p1", push.push_id)

    wait_for(found, "the completion")
    completed = found()
    assert completed is not None
    return completed


def _push(case: Case, users: int, mode: Literal["apply", "preview"] = "apply") -> PushRequested:
    push = case.world.push("p1", {1: users}, period=OCTOBER).model_copy(update={"mode": mode})
    case.world.publish(push)
    return push


def _applied(case: Case) -> PushCompleted:
    return _completed(case, _push(case, 5))


def _previewed(case: Case) -> PushCompleted:
    return _completed(case, _push(case, 5, "preview"))


def _cancelled(case: Case) -> PushCompleted:
    with case.world.database.begin() as tx:
        pauses.pause(tx, "p1", "olga", "test")
    wait_for(lambda: not case.is_running(), "the end of the run")
    push = _push(case, 5)
    wait_for(lambda: case.world.state_of(push) == "accepted", "the push")
    cancellation = PushCancelRequested(
        partner_id="p1", correlation_id="test", push_id=push.push_id, requested_at=now(), requested_by="ana"
    )
    case.world.publish(cancellation)
    return _completed(case, push)


def _reverted(case: Case, users: int = 5) -> PushCompleted | None:
    push = _push(case, users)
    _completed(case, push)
    carried_out(case.world, revert := revert_of(push))
    return completion_of(case.world, revert)


def _reverted_in_vain(case: Case) -> PushCompleted | None:
    return _reverted(case, users=1)


@pytest.mark.parametrize(
    ("ended", "mode", "status"),
    [
        (_applied, "apply", "completed"),
        (_previewed, "preview", "completed"),
        (_cancelled, "apply", "cancelled"),
        (_reverted, "revert", "completed"),
        (_reverted_in_vain, "revert", "refused"),
    ],
)
def test_the_completion_names_its_period(
    case: Case, ended: Callable[[Case], PushCompleted | None], mode: str, status: str
) -> None:
    """A portal that kept nothing of the push files its end under the right month, whatever it was and how it ended."""
    completed = ended(case)
    assert completed is not None
    assert (completed.mode, completed.status, completed.period) == (mode, status, OCTOBER)

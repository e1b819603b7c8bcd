"""A 200 that shows another quantity than was sent: it may be a read that lags, so it is read again before it counts."""

from datetime import timedelta
from typing import Any

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import BillingPeriod, PushRequested
from tests.support.case import Case, code
from tests.support.passing import time_passes
from tests.support.reverting import carried_out, revert_of
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.sync import transitions

DECEMBER = BillingPeriod.parse("2026-12")
PATCH = Match(path=r"/additions/10000\d$", method="PATCH")


def _pushed(case: Case, *companies: int) -> PushRequested:
    push = case.world.push("p1", dict.fromkeys(companies, 5))
    case.world.publish(push)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    return push


def _said(case: Case, push: PushRequested) -> dict[str, tuple[str, str | None]]:
    return {company: (one.status, code(one)) for company, one in case.world.answers(push).items() if one is not None}


def _ledger(case: Case) -> list[tuple[Any, ...]]:
    return [(row.outcome, row.quantity_before, row.quantity_after, row.http_status) for row in case.world.ledger()]


def test_a_read_that_lags_is_no_failure(case: Case) -> None:
    """The answer shows the former quantity, a read after a pause the new one: updated by one write, one more read."""
    case.world.simulator.faults.set([faults.LaggingRead(match=PATCH)])
    asked = len(case.world.simulator.log)
    push = _pushed(case, 1, 2)
    assert _said(case, push) == {"c1": ("updated", None), "c2": ("updated", None)}
    for addition in ("/100001", "/100002"):
        calls = [one["method"] for one in case.world.simulator.log[asked:] if one["path"].endswith(addition)]
        assert calls == ["GET", "PATCH", "GET"]
    assert _ledger(case) == [("written", 1, 5, 200)] * 2
    assert {answer.attempts for answer in case.world.answers(push).values() if answer} == {1}

    case.world.simulator.faults.clear()
    assert {answer.status for answer in carried_out(case.world, revert_of(push)).values()} == {"updated"}
    assert (case.world.quantity("p1", 100_001), case.world.quantity("p1", 100_002)) == (1, 1)


def test_what_still_does_not_show_after_the_pause_fails_once_and_may_be_put_back(case: Case) -> None:
    """The line fails without a second write; when the change shows after all, a revert finds it and takes it back."""
    case.world.simulator.faults.set([faults.NotKept(match=PATCH)])
    asked = len(case.world.simulator.log)
    push = _pushed(case, 1)
    assert _said(case, push) == {"c1": ("failed", "not_kept")}
    assert [one["method"] for one in case.world.simulator.log[asked:]] == ["GET", "PATCH", "GET"]
    assert _ledger(case) == [("not_kept", 1, 1, 200)]

    case.world.simulator.faults.clear()
    assert {answer.status for answer in carried_out(case.world, revert_of(push)).values()} == {"unchanged"}
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=5)
    assert {answer.status for answer in carried_out(case.world, revert_of(push)).values()} == {"updated"}
    assert case.world.quantity("p1", 100_001) == 1


def test_what_shows_late_is_not_overwritten_by_an_older_period(case: Case) -> None:
    """December's quantity was kept after all: November's, pushed by mistake, is held until somebody confirms it."""
    case.world.simulator.faults.set([faults.NotKept(match=PATCH)])
    assert code(case.push(7, period=DECEMBER)["c1"]) == "not_kept"
    case.world.simulator.faults.clear()
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=7)
    held = case.push(5)["c1"]
    assert (held.status, [why.code for why in held.reasons]) == ("held", ["older_period"])
    assert case.world.quantity("p1", 100_001) == 7


def test_what_never_showed_holds_up_no_older_period(case: Case) -> None:
    """December's quantity was not kept, November's was written since: that it is the same number means nothing."""
    case.world.simulator.faults.set([faults.NotKept(match=PATCH)])
    assert code(case.push(7, period=DECEMBER)["c1"]) == "not_kept"
    case.world.simulator.faults.clear()
    assert [case.push(users)["c1"].status for users in (7, 5)] == ["updated", "updated"]


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """The pause before the second read, as long as it takes to look at what is there meanwhile."""
    monkeypatch.setattr(transitions, "READ_AGAIN_AFTER", timedelta(hours=1))
    return transitions.READ_AGAIN_AFTER


def _waiting_for_the_second_read(world: World) -> PushRequested:
    world.simulator.faults.set([faults.NotKept(match=PATCH)])
    push = world.push("p1", {1: 5})
    world.publish(push)
    wait_for(lambda: [(row.outcome, row.http_status) for row in world.ledger()] == [(None, 200)], "the answer")
    world.simulator.faults.clear()
    return push


def test_what_connectwise_made_of_a_write_is_put_back_too(case: Case, pause: timedelta) -> None:
    """A rule of ConnectWise's makes 3 of the 5 that were sent: the line fails, a revert brings the former 1 back."""
    push = _waiting_for_the_second_read(case.world)
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=3)
    time_passes(case.world.database, pause)
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert _ledger(case) == [("not_kept", 1, 3, 200)]
    assert {answer.status for answer in carried_out(case.world, revert_of(push)).values()} == {"updated"}
    assert case.world.quantity("p1", 100_001) == 1


def test_what_somebody_entered_before_a_late_second_read_is_left_alone(case: Case, pause: timedelta) -> None:
    """After an outage of hours 33 is found, entered by hand: no work of the push, so no revert takes it back."""
    push = _waiting_for_the_second_read(case.world)
    case.world.simulator.state.change("cw-p1", "additions", 100_001, quantity=33)
    time_passes(case.world.database, pause + timedelta(hours=3))
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    assert _said(case, push) == {"c1": ("failed", "not_kept")}
    assert _ledger(case) == [("unknown", 1, None, 200)]
    assert {code(answer) for answer in carried_out(case.world, revert_of(push)).values()} == {"changed_since"}
    assert case.world.quantity("p1", 100_001) == 33


def test_a_worker_that_ends_before_the_second_read_leaves_it_to_the_next(world: World, pause: timedelta) -> None:
    """The worker stores what the answer showed, so the next one reads, does not write again, and ends the line."""
    case = Case(world)
    with app.build(world.settings):
        world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
        wait_for(case.is_checked, "the checks")
        push = _waiting_for_the_second_read(world)
    asked = len(world.simulator.log)
    time_passes(world.database, pause)
    with app.build(world.settings):
        wait_for(lambda: world.state_of(push) == "completed", "the push")
    assert _said(case, push) == {"c1": ("failed", "not_kept")}
    assert [one["method"] for one in world.simulator.log[asked:]] == ["GET"]


def test_a_write_whose_end_nobody_knows_may_be_put_back(case: Case) -> None:
    """The answer was lost and the keys are refused since: the line fails, and a revert with good keys finds the 5."""
    lost = faults.Hang(applied=True, match=PATCH, times=1)
    refused = faults.Status(status=401, match=Match(path=r"/finance/", method="GET"))
    push = case.world.push("p1", {1: 5})
    case.world.simulator.faults.set([lost])
    case.world.publish(push)
    wait_for(lambda: case.world.ledger() and case.world.quantity("p1", 100_001) == 5, "the write")
    case.world.simulator.faults.set([refused])
    wait_for(lambda: case.world.state_of(push) == "completed", "the push")
    answer = case.world.answers(push)["c1"]
    assert answer is not None
    assert (answer.status, code(answer)) == ("failed", "bad_credentials")
    assert answer.problem is not None
    assert "The quantity may have been changed before" in answer.problem.detail
    assert [row.outcome for row in case.world.ledger()] == [None]

    case.world.simulator.faults.clear()
    assert {answer.status for answer in carried_out(case.world, revert_of(push)).values()} == {"updated"}
    assert case.world.quantity("p1", 100_001) == 1
    assert [row.outcome for row in case.world.ledger()] == ["written", "written"]

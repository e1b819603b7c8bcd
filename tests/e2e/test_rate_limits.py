"""429: a partner's ConnectWise is left alone as long as it asks for, by every worker, and nobody loses a line by it."""

from datetime import timedelta
from pathlib import Path

import pytest

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushRequested, SyncResult
from store import leases
from store.leases import Health
from tests.support.case import Case, code
from tests.support.passing import is_left_alone, time_passes
from tests.support.waiting import wait_for
from tests.support.world import World, now
from worker import app

QUARTER = timedelta(minutes=15)
MANY = 30


def _busy(seconds: int, *, as_date: bool = False) -> faults.Status:
    return faults.Status(status=429, retry_after=seconds, as_date=as_date, match=Match(path=r"/additions/"))


def _health(world: World) -> Health:
    with world.database.begin() as tx:
        return leases.health(tx, "p1")


def _waits(world: World, push: PushRequested) -> bool:
    """True if the push is accepted, and a run that has seen it leaves ConnectWise alone."""
    return world.state_of(push) == "accepted" and is_left_alone(world.database, "p1")


def _pushed(world: World, *companies: int) -> PushRequested:
    push = world.push("p1", dict.fromkeys(companies, 5))
    # A run of its own: it asks one thing at a time until ConnectWise has answered.
    wait_for(lambda: not Case(world).is_running(), "the end of the run before")
    world.publish(push)
    wait_for(lambda: _waits(world, push), "the pause")
    return push


def _final(world: World, push: PushRequested) -> dict[str, SyncResult]:
    wait_for(lambda: world.state_of(push) == "completed", "the push's completion")
    return {company: answer for company, answer in world.answers(push).items() if answer is not None}


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
@pytest.mark.parametrize(("seconds", "kept"), [(300, timedelta(minutes=5)), (86_400, QUARTER)])
def test_retry_after_is_kept_but_not_for_more_than_a_quarter_of_an_hour(
    case: Case, seconds: int, kept: timedelta, *, as_date: bool
) -> None:
    """One request meets the limit, then nothing is asked for as long as it says, at most 15 minutes; no line fails."""
    case.world.simulator.faults.set([_busy(seconds, as_date=as_date)])
    asked, before = len(case.world.simulator.log), now()
    push = _pushed(case.world, 1, 2)
    paused_until = _health(case.world).paused_until
    assert paused_until is not None
    # A date has whole seconds.
    assert before + kept - timedelta(seconds=1) <= paused_until <= now() + kept
    assert [record["status"] for record in case.world.simulator.log[asked:]] == [429]
    (waiting,) = [answer for answer in case.world.answers(push).values() if answer is not None]
    assert (waiting.status, code(waiting), waiting.attempts) == ("retrying", "rate_limited", 0)
    assert waiting.problem is not None
    assert waiting.problem.fix == "Nothing to do: pushes go on by themselves."
    assert waiting.problem.said == f"Too many requests. Please try again in {seconds} seconds."

    case.world.simulator.faults.clear()
    time_passes(case.world.database, kept)
    answers = _final(case.world, push)
    # The time that ConnectWise asked for is no attempt of a line.
    assert {(answer.status, answer.attempts) for answer in answers.values()} == {("updated", 1)}
    assert len(case.world.writes()) == 2
    assert case.dead() == {}


def test_a_pause_is_kept_by_every_worker(world: World) -> None:
    """A second worker on the same store learns of the pause that the first one met, also with a push of its own."""
    case = Case(world)
    with app.build(world.settings) as second:
        with app.build(world.settings):
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            world.simulator.faults.set([_busy(600)])
            older = _pushed(world, 1)
        asked = len(world.simulator.log)
        newer = _pushed(world, 2)
        assert world.simulator.log[asked:] == []
        assert second.readiness.troubles == {}
        world.simulator.faults.clear()
        time_passes(world.database, timedelta(minutes=10))
        answers = _final(world, older) | _final(world, newer)
    assert {company: answer.status for company, answer in answers.items()} == {"c1": "updated", "c2": "updated"}


def test_four_hours_of_nothing_but_429_are_given_up(case: Case) -> None:
    """One request a pause; after 4 hours all lines fail together, with one dead letter, and say what was in the way."""
    case.world.simulator.faults.set([_busy(900)])
    asked = len(case.world.simulator.log)
    push = _pushed(case.world, 1, 2)

    def again(count: int, **passed: float) -> list[int | None]:
        time_passes(case.world.database, timedelta(**passed))
        wait_for(lambda: len(case.world.simulator.log) == asked + count, "the next request")
        return [record["status"] for record in case.world.simulator.log[asked:]]

    assert again(2, hours=3, minutes=55) == [429, 429]
    wait_for(lambda: _waits(case.world, push), "the pause")
    assert case.dead() == {}
    assert again(3, minutes=15) == [429, 429, 429]
    answers = _final(case.world, push)
    assert {(answer.status, code(answer)) for answer in answers.values()} == {("failed", "exhausted")}
    assert all(answer.problem and "ConnectWise is busy." in answer.problem.detail for answer in answers.values())
    assert case.dead() == {"exhausted": 1}
    assert len(case.world.simulator.log) == asked + 3
    assert case.world.writes() == []

    # A push that somebody makes now begins anew.
    case.world.simulator.faults.clear()
    assert {answer.status for answer in case.push(companies=(1, 2)).values()} == {"updated"}


def test_the_ledger_has_what_was_sent_and_no_more(sqlite_url: str, tmp_path: Path) -> None:
    """However often the limit ends a batch of writes: one row for each PATCH that left, none for those that did not."""
    with World("local:", sqlite_url, tmp_path, companies=MANY) as world, app.build(world.settings):
        connection = world.connected("p1")
        mappings = [world.mapped("p1", number) for number in range(1, MANY + 1)]
        limit = faults.Status(status=429, retry_after=1, match=Match(method="PATCH"), times=5)
        world.simulator.faults.set([limit])
        push = world.push("p1", dict.fromkeys(range(1, MANY + 1), 5), connection=connection, mappings=mappings)
        world.publish(connection, *mappings, push)
        answers = _final(world, push)
        assert {answer.status for answer in answers.values()} == {"updated"}
        sent = [record["status"] for record in world.simulator.log if record["method"] == "PATCH"]
        assert sorted(row.http_status for row in world.ledger()) == sorted(status or 0 for status in sent)
        assert {row.outcome for row in world.ledger()} == {"written", "refused"}
        assert len(world.writes()) == MANY


def test_a_preview_says_what_stands_in_the_way(case: Case) -> None:
    """Somebody waits for it: while ConnectWise is to be left alone it is answered with the reason, and asks nothing."""
    case.world.simulator.faults.set([_busy(600)])
    _pushed(case.world, 1)
    asked = len(case.world.simulator.log)
    preview = case.preview()
    assert preview is not None
    assert (preview.status, code(preview)) == ("failed", "rate_limited")
    assert len(case.world.simulator.log) == asked

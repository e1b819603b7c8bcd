"""Giving up: after RETRY_FOR, and not much later, however the pauses fall and whatever the server asks for."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cwclient.simulator import faults
from cwclient.simulator.faults import Match
from messages import PushRequested
from store import now
from store.schema import leases, push_lines, pushes
from tests.support.case import Case, code
from tests.support.passing import time_passes
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker import app
from worker.rules import retry

RETRY_FOR = timedelta(seconds=60)
AT_MOST = RETRY_FOR + timedelta(seconds=within(15.0))
"""Late by a tenth, or by 15 s, whichever is more."""
ADDITION = Match(path=r"/additions/10000\d$")


@pytest.fixture(params=[1.0, 0.9])
def impatient(
    request: pytest.FixtureRequest, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    """A case with RETRY_FOR=60. Chance is the same each time, and time passes only as `_time_of_giving_up` says."""
    monkeypatch.setattr(random, "random", lambda: request.param)
    with World("local:", sqlite_url, tmp_path, retry_for=RETRY_FOR.total_seconds(), call_timeout=within(1.0)) as world:
        case = Case(world)
        with app.build(world.settings):
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            wait_for(lambda: not case.is_running(), "the end of the checks' run")
            yield case


def _time_of_giving_up(world: World, push: PushRequested) -> timedelta:
    """The time that the push took to end, by the times that are stored, with its pauses passing at once."""
    while True:
        pause = wait_for(lambda: world.state_of(push) == "completed" or _pause(world), "a pause, or the end")
        if not isinstance(pause, timedelta):
            break
        time_passes(world.database, pause)
    with world.database.begin() as tx:
        accepted_at = tx.execute(select(pushes.c.accepted_at).where(pushes.c.push_id == push.push_id)).scalar_one()
        ends = tx.execute(select(push_lines.c.result_at).where(push_lines.c.push_id == push.push_id)).scalars()
        taken: timedelta = max(ends) - accepted_at
    return taken


def _pause(world: World) -> timedelta | None:
    """The time that the partner still sleeps; None = it does not."""
    with world.database.begin() as tx:
        row, at = tx.execute(select(leases)).one(), now(tx)
    sleeps = row.token is None and row.wake_at is not None and row.wake_at > at
    return row.wake_at - at if sleeps else None


def test_the_last_try_of_a_line_does_not_take_the_time_of_a_whole_call(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs when the time is up: the call gets some seconds more, not all of CALL_TIMEOUT."""
    monkeypatch.setattr(retry, "LAST_TRY", 0.3)
    with World("local:", sqlite_url, tmp_path, retry_for=RETRY_FOR.total_seconds(), call_timeout=300.0) as world:
        case = Case(world)
        with app.build(world.settings):
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            failing = faults.Status(status=500, match=ADDITION, times=1)
            world.simulator.faults.set([failing, faults.Hang(match=ADDITION)])
            push = world.push("p1", {1: 5})
            with monkeypatch.context() as patched:
                patched.setattr(retry, "RETRY_FIRST", retry.RETRY_MAX)
                patched.setattr(random, "random", lambda: 1.0)
                world.publish(push)
                wait_for(lambda: _pause(world), "the first failure")
            time_passes(world.database, RETRY_FOR)
            wait_for(lambda: world.state_of(push) == "completed", "the end")
            assert [answer and code(answer) for answer in world.answers(push).values()] == ["exhausted"]


def test_the_last_write_of_a_line_is_over_in_time(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes without an answer: the last one, after which the addition is left alone, is not given a whole call."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    retry_for, match = timedelta(seconds=90), Match(path=r"/additions/10000\d$", method="PATCH")
    with World("local:", sqlite_url, tmp_path, retry_for=retry_for.total_seconds(), call_timeout=60.0) as world:
        case = Case(world)
        with app.build(world.settings):
            world.publish(world.connected("p1"), world.mapped("p1", 1), world.mapped("p1", 2))
            wait_for(case.is_checked, "the checks")
            wait_for(lambda: not case.is_running(), "the end of the checks' run")
            world.simulator.faults.set([faults.Reset(match=match)])
            push = world.push("p1", {1: 5, 2: 5})
            world.publish(push)
            taken = _time_of_giving_up(world, push)
            assert [answer and code(answer) for answer in world.answers(push).values()] == ["exhausted"] * 2
            assert {row.outcome for row in world.ledger()} == {"not_applied"}
    assert retry_for <= taken <= retry_for + timedelta(seconds=15 + within(5.0))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Status(status=503, match=ADDITION), id="away"),
        pytest.param(faults.Answer(status=503, headers={"Retry-After": "600"}, match=ADDITION), id="asks for longer"),
        pytest.param(faults.Status(status=500, match=ADDITION), id="an error of the record"),
        pytest.param(faults.Hang(match=ADDITION), id="no answer"),
    ],
)
def test_a_push_is_given_up_in_time(impatient: Case, fault: faults.Fault) -> None:
    """With RETRY_FOR=60 all lines have their final answer before 75 s have passed, and not before 60."""
    world = impatient.world
    world.simulator.faults.set([fault])
    push = world.push("p1", {1: 5, 2: 5})
    world.publish(push)
    taken = _time_of_giving_up(world, push)
    answers = [answer for answer in world.answers(push).values() if answer is not None]
    assert [(answer.status, code(answer)) for answer in answers] == [("failed", "exhausted")] * 2
    assert RETRY_FOR <= taken <= AT_MOST

"""Workers whose clock is wrong: what they are told is judged by the database's clock, and `health` tells of theirs.

The worker and the commands have this machine's clock; the test's own database has another one.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from messages import Message
from store import now, workers
from tests.support.case import Case
from tests.support.databases import Postgresql, shift_clock
from tests.support.letters import Letters
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app

COUNTS = "company_id,company_name,billable_users\nc1,Company 1,7\n"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HEARTBEAT_SECONDS", 0.1)


@pytest.fixture
def url(postgresql: Postgresql) -> Iterator[str]:
    """A database whose clock may be changed: no other test has it afterwards."""
    with postgresql.database() as url:
        yield url


def _at_its_time(world: World, message: Message, name: str) -> Message:
    """The message as if made now, by the database's clock."""
    with world.database.begin() as tx:
        return message.model_copy(update={name: now(tx)})


@pytest.mark.parametrize(("ahead", "told"), [(600, "600 s slow"), (-600, "600 s fast")])
def test_a_worker_with_a_wrong_clock_works_and_is_told_of(url: str, tmp_path: Path, ahead: int, told: str) -> None:
    """Events of now are accepted, what is asked for later counts as newer, and `health` names the worker."""
    shift_clock(url, timedelta(seconds=ahead))
    with World("local:", url, tmp_path) as world:
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            push = world.push("p1", {1: 5})
            world.publish(
                _at_its_time(world, world.connected("p1"), "changed_at"),
                _at_its_time(world, world.mapped("p1", 1), "changed_at"),
                _at_its_time(world, push, "requested_at"),
            )
            wait_for(lambda: world.state_of(push) == "completed", "the push")
            assert world.quantity("p1", 100_001) == 5
            assert Case(world).dead() == {}

            wait_for(lambda: world.command("health").returncode == 0, "the worker's heartbeat")
            health = world.command("health", "--json")
            clocks = [one for one in json.loads(health.stdout)["checks"] if one["name"].startswith("clock of ")]
            (said,) = [one["said"] for one in clocks]
            assert said.startswith(told)
            assert "NTP" in said

            counts = tmp_path / "counts.csv"
            counts.write_text(COUNTS)
            pushed = world.command("push", "--partner", "p1", "--period", "2026-11", "--counts", str(counts))
            assert (pushed.returncode, world.quantity("p1", 100_001)) == (0, 7), pushed.stderr


def test_a_sender_whose_clock_is_fast_is_refused(url: str, tmp_path: Path) -> None:
    """Also by a worker whose clock is as fast: an event of the future would outrank every later one."""
    shift_clock(url, timedelta(seconds=-600))
    with World("local:", url, tmp_path) as world:
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            world.publish(world.mapped("p1", 1))
            (letter,) = Letters(world).wait()
    assert "in the future" in letter.error


def test_a_clock_that_is_right_is_not_told_of(postgresql_url: str, tmp_path: Path) -> None:
    """Parts of a second are nothing to mend."""
    with World("local:", postgresql_url, tmp_path) as world:
        worker = app.build(world.settings)
        with closing(worker.database), worker:
            wait_for(lambda: _speaks(world), "the worker's word")
            assert "clock" not in world.command("health").stdout


def _speaks(world: World) -> bool:
    with world.database.begin() as tx:
        return any(one.trouble is None for one in workers.recent(tx))

"""Workers of two releases, side by side or not, as docs/upgrade.md promises."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from messages import PushRequested
from store import workers
from store.migrate import newest_revision
from tests.support.databases import Postgresql
from tests.support.docs import ROOT
from tests.support.next_version import ADDS, BREAKS, Program, next_program, with_letter, with_number
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker.cli.exits import DATABASE
from worker.setting_names import PREFIX

PARTNERS = tuple(f"p{number}" for number in range(6))
COMPANIES = range(1, 6)
THIS = Program(ROOT)


@pytest.fixture
def world(amqp_url: str, postgresql: Postgresql, tmp_path: Path) -> Iterator[World]:
    """An installation on RabbitMQ and PostgreSQL, whose workers each serve one partner at a time."""
    with postgresql.database() as url, World(amqp_url, url, tmp_path, partners=PARTNERS) as world:
        yield world


def environment(world: World) -> dict[str, str]:
    """The settings of both programs."""
    return {**world.environment, f"{PREFIX}PARTNERS_AT_ONCE": "1"}


@contextmanager
def working(world: World, program: Program, name: str) -> Iterator[Any]:
    """A worker of a program, until the block ends; its log has this name."""
    known = _alive(world)
    process = program.start_worker(world.folder / f"{name}.log", environment(world))
    try:
        wait_for(lambda: _alive(world) > known or process.poll() is not None, f"the worker {name}", timeout=60)
        assert process.poll() is None, (world.folder / f"{name}.log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def _alive(world: World) -> int:
    with world.database.begin() as tx:
        return sum(not one.silent for one in workers.recent(tx))


def written_by(world: World, name: str) -> int:
    """How many quantities the worker with this log has written."""
    lines = (world.folder / f"{name}.log").read_text("utf-8").splitlines()
    return sum(json.loads(line)["event"] == "line.updated" for line in lines if line.startswith("{"))


@dataclass
class Pushing:
    """All partners, connected and mapped, push."""

    world: World

    def __post_init__(self) -> None:
        self._connections = {partner: self.world.connected(partner) for partner in PARTNERS}
        self._mappings = {
            partner: [self.world.mapped(partner, company) for company in COMPANIES] for partner in PARTNERS
        }
        for partner in PARTNERS:
            self.world.publish(self._connections[partner], *self._mappings[partner])

    def push(self, users: int) -> None:
        """Each partner pushes so many users for each of its companies, and gets all of its answers."""
        pushes = [
            self.world.push(
                partner,
                dict.fromkeys(COMPANIES, users),
                connection=self._connections[partner],
                mappings=self._mappings[partner],
            )
            for partner in PARTNERS
        ]
        self.world.publish(*pushes)
        for push in pushes:
            self._wait_for(push)
            assert {answer and answer.status for answer in self.world.answers(push).values()} == {"updated"}

    def _wait_for(self, push: PushRequested) -> None:
        wait_for(lambda: self.world.state_of(push) == "completed", "the push", timeout=60)


def test_workers_of_both_releases_work_side_by_side_on_tables_that_only_grew(world: World) -> None:
    """An upgrade whose migration has a letter stops no worker, and the way back needs no backup."""
    newer = next_program(world.folder / "next", with_letter(newest_revision()), ADDS)
    pushing = Pushing(world)
    with working(world, THIS, "old"):
        pushing.push(2)
        refused = newer.run("worker", environment=environment(world))
        assert refused.returncode == DATABASE
        assert (
            f"this program needs {with_letter(newest_revision())}: run `phin-connectwise db upgrade`" in refused.stderr
        )
        assert newer.run("db", "upgrade", environment=environment(world)).returncode == 0
        with working(world, newer, "new"), working(world, THIS, "old again"):
            users = 3
            while not all(written_by(world, name) for name in ("new", "old", "old again")) and users < 23:
                pushing.push(users)
                users += 1
            assert all(written_by(world, name) for name in ("new", "old", "old again"))
            for program in (THIS, newer):
                assert program.run("health", environment=environment(world)).returncode == 0
        back = THIS.run("db", "upgrade", environment=environment(world))
        assert back.stdout.endswith(f"at version {with_letter(newest_revision())} already: nothing to do.\n")
        pushing.push(users)
    rounds = users - 1
    assert len(world.writes()) == rounds * len(PARTNERS) * len(COMPANIES)
    assert {world.quantity(partner, 100_000 + number) for partner in PARTNERS for number in COMPANIES} == {users}


def test_tables_that_old_workers_do_not_fit_are_not_made_while_one_runs(world: World) -> None:
    """A forgotten worker keeps the upgrade from its tables, works on, and after the upgrade cannot be started again."""
    newer = next_program(world.folder / "next", with_number(newest_revision()), BREAKS)
    pushing = Pushing(world)
    with ExitStack() as stack:
        old = stack.enter_context(working(world, THIS, "old"))
        pushing.push(2)
        refused = newer.run("db", "upgrade", environment=environment(world))
        assert refused.returncode == DATABASE
        assert "workers run (1) that would not work with the tables" in refused.stderr
        pushing.push(3)
        old.send_signal(signal.SIGTERM)
        assert old.wait(within(30)) == 0
    assert newer.run("db", "upgrade", environment=environment(world)).returncode == 0
    for command in ("worker", "health", "status"):
        arguments = ["--partner", "p1"] if command == "status" else []
        too_old = THIS.run(command, *arguments, environment=environment(world))
        assert too_old.returncode == DATABASE
        assert "too new for this program" in " ".join((too_old.stdout + too_old.stderr).split())
    too_old = THIS.run("db", "upgrade", environment=environment(world))
    assert too_old.returncode == DATABASE
    with working(world, newer, "new"):
        pushing.push(4)

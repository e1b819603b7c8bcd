"""Backup and restore by the commands of docs/upgrade.md, on PostgreSQL and RabbitMQ."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from messages import ConnectionChanged, MappingChanged, PushRequested
from tests.support.databases import Postgresql
from tests.support.docs import ROOT, blocks
from tests.support.own_servers import OwnPostgresql
from tests.support.own_servers.postgresql import DEBIAN
from tests.support.waiting import wait_for, within
from tests.support.world import World

PAGE = ROOT / "docs" / "upgrade.md"
BACK_UP, RESTORE = (block.text for block in blocks(PAGE) if Path(__file__).name in block.note)
PROGRAMS = os.pathsep.join([
    str(Path(sys.executable).parent), os.environ["PATH"], *map(str, sorted(DEBIAN.glob("*/bin"), reverse=True))
])  # fmt: skip
PARTNERS = ("p1", "p2")
MISSING = "PostgreSQL's programs pg_dump and pg_restore are missing: apt-get install postgresql"


@dataclass
class Platform:
    """Two partners connect and map; what was sent can be sent again."""

    world: World
    sent: list[ConnectionChanged | MappingChanged | PushRequested] = field(default_factory=list)

    def connect(self) -> None:
        """Both partners."""
        for partner in PARTNERS:
            self._send(self.world.connected(partner), *(self.world.mapped(partner, number) for number in range(1, 6)))

    def push(self, partner: str, counts: dict[int, int]) -> PushRequested:
        """Send a push that names the connection and the mappings which it was made under."""
        connection = next(one for one in self.sent if isinstance(one, ConnectionChanged) and one.partner_id == partner)
        mappings = [one for one in self.sent if isinstance(one, MappingChanged) and one.partner_id == partner]
        push = self.world.push(partner, counts, connection=connection, mappings=mappings)
        self._send(push)
        return push

    def send_again(self) -> None:
        """Send all with the ids that it had."""
        self.world.publish(*self.sent)

    def _send(self, *messages: ConnectionChanged | MappingChanged | PushRequested) -> None:
        self.sent += messages
        self.world.publish(*messages)

    def answers(self, push: PushRequested) -> dict[str, tuple[str, str | None]]:
        """Wait for the push; (status, code of the problem) of each company."""
        wait_for(lambda: self.world.state_of(push) == "completed", "the push", timeout=60)
        answers = self.world.answers(push).items()
        return {company: (one.status, one.problem.code if one.problem else None) for company, one in answers if one}


@contextmanager
def working(world: World) -> Iterator[None]:
    """A worker runs, and ends as an operator ends it."""
    worker = world.start_worker()
    try:
        yield
        worker.terminate()
        assert worker.wait(within(30)) == 0
    finally:
        worker.kill()


def shell(script: str, world: World, server_url: str) -> None:
    """Run commands of the page as they stand; each has to end well."""
    given = {"ADMIN_URL": server_url, "DATABASE": urlsplit(world.database_url).path[1:], "PATH": PROGRAMS}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], env=world.environment | given, cwd=world.folder,
        capture_output=True, encoding="utf-8", timeout=within(120), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_restored_database_writes_nothing_twice_and_nothing_old(
    amqp_url: str, own_postgresql: OwnPostgresql, tmp_path: Path
) -> None:
    """After a restore the platform sends all again; ConnectWise keeps what it has until somebody confirms a change."""
    if shutil.which("pg_dump", path=PROGRAMS) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)
    server = Postgresql(own_postgresql.url)
    with server.database() as url, World(amqp_url, url, tmp_path, partners=PARTNERS) as world:
        platform = Platform(world)
        with working(world):
            platform.connect()
            platform.answers(platform.push("p1", {1: 2, 2: 2}))
            world.command("pause", "--partner", "p2", "--why", "to be open in the backup")
            unfinished = platform.push("p2", {1: 2})
            wait_for(lambda: world.state_of(unfinished) == "accepted", "the push that is paused")
            shell(BACK_UP, world, own_postgresql.url)
            world.command("resume", "--partner", "p2")
            platform.answers(unfinished)
            lost = [platform.push("p1", {1: 3, 2: 3, 3: 3}), platform.push("p2", {1: 4})]
            for push in lost:
                platform.answers(push)
        world.database.close()
        before = len(world.writes())
        shell(RESTORE, world, own_postgresql.url)
        with working(world):
            platform.send_again()
            wait_for(lambda: all(world.state_of(push) == "accepted" for push in lost), "the pushes to be stored")
            for pause in ("--all", "--partner=p2"):
                assert world.command("resume", pause).returncode == 0
            assert set(platform.answers(lost[0]).values()) == {("unchanged", None)}
            assert platform.answers(lost[1]) == {"c1": ("unchanged", None)}
            assert platform.answers(unfinished) == {"c1": ("superseded", "superseded")}
            assert len(world.writes()) == before
            newer = platform.push("p1", {1: 5, 2: 3, 3: 5})
            assert platform.answers(newer) == {
                "c1": ("held", "changed_elsewhere"),  # by the push that is lost
                "c2": ("unchanged", None),
                "c3": ("updated", None),  # of which no earlier write is known
            }

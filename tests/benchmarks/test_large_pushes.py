"""Pushes of 10,000 lines by the dozen and by the hundred: memory, how long one takes, and what others notice."""

from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import func, select

from messages import PushRequested
from store import Database, outbox
from store.schema import pushes
from tests.benchmarks.as_it_is import seconds, set_up, show, worker
from tests.support.samples import push
from tests.support.store import deferred
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.handlers.context import Context
from worker.handlers.pushes import push_requested

pytestmark = pytest.mark.benchmark

LINES, COMPANIES, TIMES = 10_000, 10, 5
QUEUED, QUEUED_LIMIT = 50, 200
BACKLOG, BACKLOG_LIMIT, RATIO = 400, 512, 2.0
ACCEPT_LIMIT = 2.0
BULKY_LINES, BULKY_SIZE = 300, 1_200_000


def _small(world: World, users: int) -> float:
    """The median time of a push of 10 companies that all change."""
    numbers = range(1, COMPANIES + 1)
    times = [seconds(world, world.push("small", dict.fromkeys(numbers, users + turn))) for turn in range(TIMES)]
    return sorted(times)[TIMES // 2]


def _large(world: World, users: int, lines: int = LINES) -> PushRequested:
    """A push of many lines; nobody has connected its partner, so each is answered at once."""
    return world.push("large", dict.fromkeys(range(1, lines + 1), users))


def _accepted(world: World, partner: str, state: str | None = None) -> int:
    query = select(func.count()).select_from(pushes).where(pushes.c.partner_id == partner)
    with world.database.begin() as tx:
        return tx.execute(query if state is None else query.where(pushes.c.state == state)).scalar_one()


def _defer(world: World, event: PushRequested, size: int = 0) -> None:
    """As a worker puts it into the store, with its turn come; with the bytes of a larger one if that is asked."""
    with world.database.begin() as tx:
        outbox.defer(tx, [(deferred(event, size), 0.0)])


def test_fifty_at_once(amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fifty pushes of 10,000 lines at one moment: the worker stays small, and is soon done with accepting them."""
    installation = World(amqp_url, postgresql_url, tmp_path, companies=1, call_timeout=60, has_platform=False)
    with installation as world:
        world.publish(*(_large(world, 1 + number) for number in range(QUEUED)))
        with worker(world, QUEUED_LIMIT) as process:
            started = monotonic()
            wait_for(lambda: process.exceeded or _accepted(world, "large") == QUEUED, "fifty pushes", 1200)
            taken = monotonic() - started
            show(
                capsys,
                f"large: {QUEUED} pushes of {LINES:,} lines were accepted in {taken:.0f} s; the worker peaked at"
                f" {process.peak:.0f} MiB (limit {QUEUED_LIMIT})",
            )
            assert not process.exceeded


def test_beside_others(amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pushes of 10,000 lines lie in the store, their turn long come: another partner's push hardly notices."""
    installation = World(amqp_url, postgresql_url, tmp_path, ["small"], COMPANIES, call_timeout=60, has_platform=False)
    with installation as world, worker(world):
        set_up(world, "small", companies=COMPANIES)
        alone = _small(world, 100)
        for number in range(QUEUED):
            _defer(world, _large(world, 1 + number))
        wait_for(lambda: _accepted(world, "large") > 1, "the first of them", 60)
        together = _small(world, 200)
        assert _accepted(world, "large") < QUEUED
    show(
        capsys,
        f"large: beside {QUEUED} pushes of {LINES:,} lines a push of {COMPANIES} took {together / alone:.2f} times as"
        f" long as alone (limit {RATIO:g})",
    )
    assert together / alone <= RATIO


def test_a_backlog(amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four hundred with as many bytes lie there: all are answered, and the worker stays small."""
    installation = World(amqp_url, postgresql_url, tmp_path, companies=1, call_timeout=60, has_platform=False)
    with installation as world:
        for number in range(BACKLOG):
            _defer(world, _large(world, 1 + number, BULKY_LINES), BULKY_SIZE)
        with worker(world, BACKLOG_LIMIT) as process:
            started = monotonic()
            wait_for(lambda: process.exceeded or _accepted(world, "large", "completed") == BACKLOG, "all of them", 7200)
            taken = (monotonic() - started) / 60
    show(
        capsys,
        f"large: {BACKLOG} pushes of 1.2 MB were answered line by line in {taken:.0f} min; the worker peaked at"
        f" {process.peak:.0f} MiB (limit {BACKLOG_LIMIT})",
    )
    assert not process.exceeded


def test_accepting(postgresql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A push of 10,000 lines is accepted within two seconds, also if it displaces as many that are not settled."""
    companies = dict.fromkeys((f"c-{number}" for number in range(LINES)), 5)
    with closing(Database(postgresql_url)) as database:
        for minute, added in enumerate(("lines", "lines that displace as many")):
            event = push(f"p-{minute}", companies, at=minute)
            started = monotonic()
            push_requested(Context(database), event)
            taken = monotonic() - started
            show(capsys, f"large: {LINES:,} {added} were accepted in {taken:.2f} s (limit {ACCEPT_LIMIT:g})")
            assert taken <= ACCEPT_LIMIT

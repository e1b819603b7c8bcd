"""Measurements, printed as figures: `make bench`. Speed only as a ratio within one run."""

import threading
from pathlib import Path
from time import monotonic

import psutil
import pytest
from sqlalchemy import func, select

from cwclient.simulator.faults import Latency, Match
from messages import PushRequested
from store.schema import mappings
from tests.support.waiting import wait_for
from tests.support.world import World

pytestmark = pytest.mark.benchmark

HUGE = 10_000
MEMORY_LIMIT = 150 * 1024 * 1024
PARTNERS, COMPANIES, LATENCY = 32, 20, 0.5


def test_memory_of_a_huge_push(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A push of 10,000 companies keeps the worker under 150 MB."""
    with World(amqp_url, postgresql_url, tmp_path, companies=HUGE, call_timeout=60) as world:
        numbers = range(1, HUGE + 1)
        connection = world.connected("p1")
        its_mappings = [world.mapped("p1", number) for number in numbers]
        world.publish(connection, *its_mappings)
        worker = psutil.Process(world.start_worker_alone().pid)
        counts = {number: number % 50 + 2 for number in numbers}
        push = world.push("p1", counts, connection=connection, mappings=its_mappings)
        world.publish(push)
        peak, pause = 0, threading.Event()
        while world.state_of(push) != "completed":
            peak = max(peak, worker.memory_info().rss)
            pause.wait(0.2)
        assert len(world.writes()) == HUGE
    with capsys.disabled():
        print(f"\nmemory: a push of {HUGE:,} companies peaked at {peak / 1024**2:.0f} MB (limit 150)")  # noqa: T201
    assert peak < MEMORY_LIMIT


def test_partners_side_by_side(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same push for 32 partners at once, as a ratio to the time for one."""
    names = [f"p{number}" for number in range(1, PARTNERS + 1)]
    with World(amqp_url, postgresql_url, tmp_path, names, COMPANIES, call_timeout=60) as world:
        for name in names:
            world.publish(world.connected(name), *(world.mapped(name, n) for n in range(1, COMPANIES + 1)))
        world.start_worker()
        wait_for(lambda: _checked(world) == PARTNERS * COMPANIES, "the checks", 120)
        world.simulator.faults.add(Latency(seconds=LATENCY, match=Match(path="/additions/")))
        alone = _seconds(world, [world.push(names[0], dict.fromkeys(range(1, COMPANIES + 1), 50))])
        together = _seconds(world, [world.push(name, dict.fromkeys(range(1, COMPANIES + 1), 60)) for name in names])
    with capsys.disabled():
        print(f"\nside by side: {PARTNERS} partners took {together / alone:.1f} times as long as one")  # noqa: T201


def _checked(world: World) -> int:
    with world.database.begin() as tx:
        query = select(func.count()).select_from(mappings).where(mappings.c.check_due_at.is_(None))
        return tx.execute(query).scalar_one()


def _seconds(world: World, pushes: list[PushRequested]) -> float:
    started = monotonic()
    world.publish(*pushes)
    wait_for(lambda: all(world.state_of(push) == "completed" for push in pushes), "the pushes", 300)
    return monotonic() - started

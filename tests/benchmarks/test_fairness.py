"""The slowdown of one partner by the others: the time of its push beside them, as a ratio to its time alone.

Each test is one run, with the real worker, its real times and limits, and 100 ms latency of every addition.
"""

from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from cwclient.simulator.faults import Hang, Latency, Match
from store.database import db_now
from store.schema import leases
from tests.benchmarks.as_it_is import at_work, seconds, set_up, show
from tests.support.waiting import wait_for
from tests.support.world import World

pytestmark = pytest.mark.benchmark

COMPANIES = 10
LATENCY = Latency(seconds=0.1, match=Match(path="/additions/"))
HUGE, DEAD, QUEUED = 5_000, 40, 1_000
RATIO = 1.5
TIMES = 5


def _small(world: World, users: int) -> float:
    """The median time of a push of 10 companies that all change, each time with all requests of its minute left."""
    numbers = range(1, COMPANIES + 1)
    times = []
    for turn in range(TIMES):
        with world.database.begin() as tx:
            tx.execute(update(leases).filter_by(partner_id="small").values(budget_tokens=None, budget_at=None))
        times.append(seconds(world, world.push("small", dict.fromkeys(numbers, users + turn))))
    return sorted(times)[TIMES // 2]


def _compare(capsys: pytest.CaptureFixture[str], beside: str, alone: float, together: float) -> None:
    ratio = together / alone
    show(capsys, f"fairness: beside {beside} a push of {COMPANIES} took {ratio:.2f} times as long as alone (limit 1.5)")
    assert ratio <= RATIO


def test_beside_a_huge_push(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A push of 5,000 companies is under way in the same worker."""
    with at_work(amqp_url, postgresql_url, tmp_path, ("small", "huge"), HUGE) as world:
        set_up(world, "small", companies=COMPANIES)
        set_up(world, "huge", companies=HUGE)
        world.simulator.faults.add(LATENCY)
        alone = _small(world, 100)
        world.publish(world.push("huge", dict.fromkeys(range(1, HUGE + 1), 7)))
        wait_for(lambda: len(world.writes("huge")) >= 50, "the huge push", 60)
        together = _small(world, 200)
        assert len(world.writes("huge")) < HUGE
        _compare(capsys, f"a running push of {HUGE:,}", alone, together)


def test_beside_dead_servers(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty other partners push to servers that take connections and never answer."""
    dead = [f"dead{number}" for number in range(DEAD)]
    with at_work(amqp_url, postgresql_url, tmp_path, ("small", *dead), COMPANIES) as world:
        set_up(world, "small", *dead, companies=COMPANIES)
        world.simulator.faults.set([Hang(match=Match(tenant=f"cw-{name}")) for name in dead] + [LATENCY])
        alone = _small(world, 100)
        for name in dead:
            world.publish(world.push(name, dict.fromkeys(range(1, COMPANIES + 1), 7)))
        wait_for(lambda: _held(world) == DEAD, "runs that wait for their servers", 60)
        together = _small(world, 200)
        assert _held(world) > 0
        _compare(capsys, f"{DEAD} partners whose servers never answer", alone, together)
        world.simulator.faults.clear()


def test_beside_a_flood_of_pushes(
    amqp_url: str, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another partner has just sent a thousand pushes."""
    with at_work(amqp_url, postgresql_url, tmp_path, ("small", "noisy"), COMPANIES) as world:
        set_up(world, "small", "noisy", companies=COMPANIES)
        world.simulator.faults.add(LATENCY)
        alone = _small(world, 100)
        numbers = range(1, COMPANIES + 1)
        flood = [world.push("noisy", dict.fromkeys(numbers, 7 + turn)) for turn in range(QUEUED)]
        world.publish(*flood)
        together = _small(world, 200)
        assert world.state_of(flood[-1]) != "completed"
        _compare(capsys, f"{QUEUED:,} queued pushes of one partner", alone, together)


def _held(world: World) -> int:
    with world.database.begin() as tx:
        return tx.execute(select(func.count()).select_from(leases).where(leases.c.until > db_now())).scalar_one()

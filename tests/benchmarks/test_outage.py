"""RabbitMQ away for ten hours while 256 partners cannot reach their ConnectWise: what has piled up when it is back."""

from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest
from sqlalchemy import func, select, text

from cwclient.simulator.faults import Match, Status
from store.schema import outbox
from tests.benchmarks.as_it_is import seconds, set_up, show, worker
from tests.support.own_servers import OwnRabbitMQ
from tests.support.waiting import wait_for
from tests.support.world import World
from worker.connectwise.rate_limit import BURST, PER_MINUTE

pytestmark = pytest.mark.benchmark

PARTNERS, TIMES = 256, 3
SMALL = range(1, 31)
"""The companies of a partner whose ConnectWise answers."""
ROUNDS, ROUND = 120, timedelta(minutes=5)
FIRST_LIMIT, PUSH_LIMIT = 5.0, 1.5


def _waiting(world: World) -> int:
    with world.database.begin() as tx:
        return tx.execute(select(func.count()).select_from(outbox)).scalar_one()


def _time_passes(world: World) -> None:
    """Five minutes, for all that waits for a time."""
    with world.database.begin() as tx:
        for table, columns in (
            ("leases", ("wake_at", "paused_until", "unreachable_since", "results_until")),
            ("syncs", ("due_at", "first_failed_at", "reported_at")),
            ("outbox", ("not_before", "claim_until")),
        ):
            earlier = ", ".join(f"{name} = {name} - make_interval(secs => :seconds)" for name in columns)
            tx.execute(text(f"UPDATE {table} SET {earlier}"), {"seconds": ROUND.total_seconds()})  # noqa: S608


def _rested(world: World, users: int) -> float:
    """How long a push takes whose partner may make as many requests at once as after a long outage."""
    sleep(BURST / PER_MINUTE * 60)
    return seconds(world, world.push("small", dict.fromkeys(SMALL, users)))


def test_rabbitmq_is_away_for_ten_hours(
    own_rabbitmq: OwnRabbitMQ, postgresql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first result leaves within 5 s of its return, and a new push takes hardly longer than before."""
    names = [f"p{number}" for number in range(PARTNERS)]
    installation = World(
        own_rabbitmq.url,
        postgresql_url,
        tmp_path,
        ["small", *names],
        companies=len(SMALL),
        call_timeout=60,
        retry_for=86_400,
        has_platform=False,
    )
    with installation as world, worker(world):
        set_up(world, "small", companies=len(SMALL))
        usual = sorted(_rested(world, 10 + turn) for turn in range(TIMES))[TIMES // 2]
        set_up(world, *names, companies=1)
        world.simulator.faults.set([Status(status=503, match=Match(tenant=f"cw-{name}")) for name in names])
        pushes = [world.push(name, {1: 5}) for name in names]
        world.publish(*pushes)
        wait_for(lambda: all(world.state_of(push) == "accepted" for push in pushes), "the pushes", 120)
        own_rabbitmq.stop()
        asked = len(world.simulator.log)
        for number in range(ROUNDS):
            _time_passes(world)
            wait_for(lambda: len(world.simulator.log) > asked + number * PARTNERS // 4, "the partners' runs", 60)  # noqa: B023
        piled_up = _waiting(world)
        own_rabbitmq.start()
        started = monotonic()
        wait_for(lambda: _waiting(world) < piled_up, "the first result", 60)
        first = monotonic() - started
        new = seconds(world, world.push("small", dict.fromkeys(SMALL, 99)))
    hours = ROUNDS * ROUND / timedelta(hours=1)
    show(
        capsys,
        f"outage: after {hours:.0f} h without RabbitMQ {piled_up:,} messages of {PARTNERS} partners waited; the first"
        f" left {first:.1f} s after its return (limit {FIRST_LIMIT:g}), and a new push took {new / usual:.2f} times the"
        f" {usual:.2f} s of before (limit {PUSH_LIMIT})",
    )
    assert first <= FIRST_LIMIT
    assert new / usual <= PUSH_LIMIT
    assert piled_up <= 2 * PARTNERS

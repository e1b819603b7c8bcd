"""A worker that is busy takes no more partners than it must; other workers take the rest."""

from math import inf
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cwclient.simulator import faults
from store.schema import leases
from tests.support.waiting import wait_for
from tests.support.world import World
from worker import app
from worker.sync import partner_pool

PARTNERS = tuple(f"p{number}" for number in range(1, 9))


def _held(world: World) -> int:
    with world.database.begin() as tx:
        return tx.execute(select(func.count()).where(leases.c.token.is_not(None))).scalar_one()


@pytest.mark.parametrize(
    ("busy_by", "companies", "served"),
    [
        ("BUSY_SHARE", 1, partner_pool.AT_LEAST),
        ("BUSY_WAIT", 1, partner_pool.AT_LEAST),
        ("BUSY_SHARE", 8, len(PARTNERS)),
    ],
)
def test_a_busy_worker_serves_no_more_partners_than_calls_wait_for_their_servers(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_by: str, companies: int, served: int
) -> None:
    """While the CPU is used up few are served side by side, more where servers are slow; the others have their turn."""
    for limit in ("BUSY_SHARE", "BUSY_WAIT"):
        monkeypatch.setattr(partner_pool, limit, -1.0 if limit == busy_by else inf)
    monkeypatch.setattr(partner_pool, "PATIENCE_SECONDS", 3600.0)
    with World("local:", sqlite_url, tmp_path, partners=PARTNERS, companies=companies, call_timeout=60.0) as world:
        world.simulator.faults.set([faults.Latency(seconds=0.5)])
        pushes, numbers = [], range(1, companies + 1)
        for partner in PARTNERS:
            connection, mapped = world.connected(partner), [world.mapped(partner, number) for number in numbers]
            push = world.push(partner, dict.fromkeys(numbers, 5), connection=connection, mappings=mapped)
            world.publish(connection, *mapped, push)
            pushes.append(push)
        with app.build(world.settings):
            held: list[int] = []

            def are_completed() -> bool:
                held.append(_held(world))
                return all(world.state_of(push) == "completed" for push in pushes)

            wait_for(are_completed, "all pushes", timeout=120)
        assert max(held) == served

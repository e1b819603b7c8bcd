"""A worker that is busy takes no more partners than it must; other workers take the rest."""

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


def test_a_busy_worker_leaves_partners_to_others(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are served side by side while the CPU is used up; the others have their turn, too."""
    monkeypatch.setattr(partner_pool, "BUSY_SHARE", -1.0)
    monkeypatch.setattr(partner_pool, "PATIENCE_SECONDS", 3600.0)
    with World("local:", sqlite_url, tmp_path, partners=PARTNERS, companies=1, call_timeout=60.0) as world:
        world.simulator.faults.set([faults.Latency(seconds=0.5)])
        pushes = []
        for partner in PARTNERS:
            connection, mapped = world.connected(partner), world.mapped(partner, 1)
            push = world.push(partner, {1: 5}, connection=connection, mappings=[mapped])
            world.publish(connection, mapped, push)
            pushes.append(push)
        with app.build(world.settings):
            wait_for(lambda: _held(world) == partner_pool.AT_LEAST, "as many as a worker always serves")
            held: list[int] = []

            def are_completed() -> bool:
                held.append(_held(world))
                return all(world.state_of(push) == "completed" for push in pushes)

            wait_for(are_completed, "all pushes", timeout=60)
        assert max(held) == partner_pool.AT_LEAST

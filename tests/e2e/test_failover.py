"""Servers that answer but take no writes: connections to them are healthy, and of no use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cwclient.simulator.faults import Latency
from messages import PushRequested
from store.schema import dead_letters
from tests.e2e.test_outages import WITHIN, events, platform
from tests.support.own_servers import OwnPostgresql, Standby, own, own_standby
from tests.support.waiting import wait_for, within
from tests.support.world import World

PARTNERS = [f"p{number}" for number in range(1, 21)]
COMPANIES = 3


@pytest.fixture
def pair() -> Iterator[tuple[OwnPostgresql, Standby]]:
    """A primary and its hot standby."""
    with own(OwnPostgresql) as primary, own_standby(primary) as standby:
        yield primary, standby


def on(amqp_url: str, database_url: str, folder: Path) -> World:
    """An installation of many partners."""
    return World(amqp_url, database_url, folder, partners=PARTNERS, companies=COMPANIES)


def pushed(world: World) -> list[PushRequested]:
    """Connect, map and push all companies of all partners, and let something of it happen."""
    world.simulator.faults.add(Latency(seconds=within(0.1)))
    pushes = []
    for partner in PARTNERS:
        connection = world.connected(partner)
        mappings = [world.mapped(partner, number) for number in range(1, COMPANIES + 1)]
        counts = {number: number + 1 for number in range(1, COMPANIES + 1)}
        pushes.append(world.push(partner, counts, connection=connection, mappings=mappings))
        platform(world).publish([connection, *mappings, pushes[-1]])
    wait_for(world.writes, "the first write")
    return pushes


def assert_all_done(world: World, pushes: list[PushRequested]) -> None:
    """Every push is completed, every addition holds its count, nothing was given up, and no worker has ended."""
    asked = {push.push_id for push in pushes}
    wait_for(lambda: asked == platform(world).ids_of("push.completed.v1").keys(), "the pushes' completion", WITHIN)
    final = platform(world).final_ids()
    assert final.keys() == {(push, f"c{number}") for push in asked for number in range(1, COMPANIES + 1)}
    assert {len(ids) for ids in final.values()} == {1}
    quantities = [world.quantity(partner, 100_000 + n) for partner in PARTNERS for n in range(1, COMPANIES + 1)]
    assert quantities == [n + 1 for _ in PARTNERS for n in range(1, COMPANIES + 1)]
    with world.database.begin() as tx:
        assert tx.execute(select(func.count()).select_from(dead_letters)).scalar_one() == 0
    assert world.ended_workers() == []


def test_standby_takes_over_while_partners_push(
    pair: tuple[OwnPostgresql, Standby], amqp_url: str, tmp_path: Path
) -> None:
    """The primary turns read-only and keeps its connections, its standby is promoted: the workers change over."""
    primary, standby = pair
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    with on(amqp_url, f"postgresql://postgres:postgres@{hosts}/postgres", tmp_path) as world:
        world.start_worker()
        world.start_worker()
        pushes = pushed(world)
        before = len(world.writes())
        standby.take_over()
        assert before < len(PARTNERS) * COMPANIES
        assert_all_done(world, pushes)


def test_server_that_is_read_only_for_a_while(own_postgresql: OwnPostgresql, amqp_url: str, tmp_path: Path) -> None:
    """It takes no writes and then does: the workers say so meanwhile, and go on with connections to it."""
    own_postgresql.ask("DROP SCHEMA public CASCADE")
    own_postgresql.ask("CREATE SCHEMA public")
    with on(amqp_url, own_postgresql.url, tmp_path) as world:
        world.start_worker()
        world.start_worker()
        pushes = pushed(world)
        own_postgresql.read_only(on=True)
        try:
            wait_for(lambda: all("store.trouble" in events(world, n) for n in (0, 1)), "both workers to say so")
        finally:
            own_postgresql.read_only(on=False)
        assert_all_done(world, pushes)

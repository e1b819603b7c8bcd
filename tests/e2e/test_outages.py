"""Servers that go away: the worker waits, says so, and works on by itself; nothing is lost or doubled."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from cwclient.simulator.faults import Latency
from messages import PushRequested, SyncResult
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ
from tests.support.waiting import wait_for, within
from tests.support.world import World

COMPANIES = 40
# An outage, and what follows from it: reconnecting with growing pauses, leases that run out.
WITHIN = 90.0
Servers = tuple[OwnRabbitMQ, OwnPostgresql]


@pytest.fixture
def servers(own_rabbitmq: OwnRabbitMQ, own_postgresql: OwnPostgresql) -> Servers:
    """Servers of the test's own; they run at its start and afterwards."""
    with psycopg.connect(own_postgresql.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return own_rabbitmq, own_postgresql


@pytest.fixture
def world(servers: Servers, tmp_path: Path) -> Iterator[World]:
    """An installation on them; ConnectWise answers slowly enough for something to happen during a push."""
    rabbitmq, postgresql = servers
    with World(rabbitmq.url, postgresql.url, tmp_path, companies=COMPANIES, call_timeout=within(20.0)) as world:
        world.simulator.faults.add(Latency(seconds=within(0.2)))
        yield world
        # Removing queues needs the broker, whatever the test did.
        rabbitmq.start()


def pushed(world: World) -> PushRequested:
    """Connect, map and push all companies."""
    connection = world.connected("p1")
    mappings = [world.mapped("p1", number) for number in range(1, COMPANIES + 1)]
    push = world.push("p1", {n: n + 1 for n in range(1, COMPANIES + 1)}, connection=connection, mappings=mappings)
    platform(world).publish([connection, *mappings, push])
    return push


def platform(world: World) -> Any:
    """The platform's side; there is one on RabbitMQ."""
    assert world.platform is not None
    return world.platform


def is_under_way(world: World) -> bool:
    """Some lines are written, most are not."""
    return len(world.writes()) >= 4


def assert_done_once(world: World, push: PushRequested) -> None:
    """Every addition holds its count and was written once; every line has one final result, the push one completion."""
    wait_for(lambda: platform(world).ids_of("push.completed.v1"), "the push's completion", WITHIN)
    numbers = range(1, COMPANIES + 1)
    assert {n: world.quantity("p1", 100_000 + n) for n in numbers} == {n: n + 1 for n in numbers}
    assert sorted(write["quantity_after"] for write in world.writes()) == [n + 1 for n in numbers]
    final = platform(world).final_ids()
    assert final.keys() == {(push.push_id, f"c{n}") for n in numbers}
    assert {len(ids) for ids in final.values()} == {1}
    assert {message.status for message in platform(world).received if isinstance(message, SyncResult)} == {"updated"}
    assert [len(ids) for ids in platform(world).ids_of("push.completed.v1").values()] == [1]


def events(world: World, number: int = 0) -> list[str]:
    """The events that a worker has logged."""
    lines = (world.folder / f"worker-{number}.log").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


@pytest.mark.parametrize("end", [OwnRabbitMQ.stop, OwnRabbitMQ.kill], ids=["stopped", "killed"])
def test_broker_away_during_a_push(world: World, own_rabbitmq: OwnRabbitMQ, end: Callable[[OwnRabbitMQ], None]) -> None:
    """RabbitMQ stops or dies during a push and comes back: the worker says so, and the push is done all the same."""
    worker = world.start_worker()
    push = pushed(world)
    wait_for(lambda: is_under_way(world), "the push is under way", WITHIN)
    end(own_rabbitmq)
    wait_for(lambda: "broker.trouble" in events(world), "the worker says that the broker is away", WITHIN)
    own_rabbitmq.start()
    assert_done_once(world, push)
    assert worker.poll() is None


def test_memory_alarm_during_a_push(world: World, own_rabbitmq: OwnRabbitMQ) -> None:
    """Under the memory alarm the lines are worked off and their results wait; the worker says so; none is lost."""
    world.start_worker()
    push = pushed(world)
    wait_for(lambda: is_under_way(world), "the push is under way", WITHIN)
    # Lines are still to be answered once the alarm is on.
    world.simulator.faults.set([Latency(seconds=within(2.0))])
    own_rabbitmq.memory_alarm(on=True)
    world.simulator.faults.set([Latency(seconds=within(0.2))])
    wait_for(lambda: all(world.answers(push).values()), "every line is answered in the store", WITHIN)
    wait_for(lambda: "publisher.trouble" in events(world), "the worker says that nothing leaves", WITHIN)
    assert not platform(world).ids_of("push.completed.v1")
    own_rabbitmq.memory_alarm(on=False)
    assert_done_once(world, push)


def restart(server: OwnPostgresql) -> None:
    """A restart as for an update."""
    server.restart()


def crash(server: OwnPostgresql) -> None:
    """The immediate shutdown, which cuts every connection in the middle."""
    server.stop_at_once()
    server.start()


@pytest.mark.parametrize("disturb", [restart, crash, OwnPostgresql.terminate_connections])
def test_database_away_during_a_push(
    world: World, own_postgresql: OwnPostgresql, disturb: Callable[[OwnPostgresql], None]
) -> None:
    """PostgreSQL restarts, crashes or cuts all connections off during a push: it is done as if it had not."""
    worker = world.start_worker()
    push = pushed(world)
    wait_for(lambda: is_under_way(world), "the push is under way", WITHIN)
    disturb(own_postgresql)
    assert_done_once(world, push)
    assert worker.poll() is None


@contextmanager
def worker_command(world: World) -> "Iterator[subprocess.Popen[bytes]]":
    """The command `phin-connectwise worker`; its log is that of worker 0."""
    with (world.folder / "worker-0.log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "-m", "worker.cli", "worker"], env=world.environment, stderr=log)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


ORDERS = {
    "broker, then database": ("rabbitmq", "postgresql"),
    "database, then broker": ("postgresql", "rabbitmq"),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_worker_started_before_its_servers(world: World, servers: Servers, order: tuple[str, ...]) -> None:
    """A worker that is started before its servers waits, saying which it misses, and works once they are there."""
    by_name = dict(zip(("rabbitmq", "postgresql"), servers, strict=True))
    said = {"rabbitmq": "broker.trouble", "postgresql": "store.trouble"}
    for name in order:
        by_name[name].stop()
    with worker_command(world) as worker:
        for position, name in enumerate(order):
            missed = {said[other] for other in order[position:]}
            wait_for(lambda missed=missed: missed & set(events(world)), f"the worker says {missed}")  # type: ignore[misc]
            by_name[name].start()
        assert_done_once(world, pushed(world))
        assert worker.poll() is None


def test_queue_with_other_arguments(world: World, own_rabbitmq: OwnRabbitMQ) -> None:
    """A queue that somebody declared otherwise: the worker stays up and says which it is and what to do.

    As soon as the queue is gone the worker declares its own and works.
    """
    queue = f"{world.settings.queue_prefix}connectwise.push-requested.v1"
    with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        log = world.folder / "worker-0.log"
        with worker_command(world) as worker:
            wait_for(lambda: "broker.trouble" in events(world), "the worker says what is wrong")
            said = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
            trouble = next(line for line in said if line["event"] == "broker.trouble")
            assert queue in trouble["error"]
            assert "phin-connectwise topology declare" in trouble["error"]
            assert worker.poll() is None
            channel.queue_delete(queue)
            wait_for(lambda: "broker.fine" in events(world), "the worker declares its queue", WITHIN)
            assert_done_once(world, pushed(world))

"""The database is away for long, or comes and goes: no message is lost, given up, or blamed for it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from messages import PushRequested
from tests.support import proxy
from tests.support.databases import Postgresql
from tests.support.letters import Letters
from tests.support.own_servers import OwnPostgresql, OwnRabbitMQ
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for, within
from tests.support.world import World
from worker.topology import QUEUE_DEAD, queue_of

PARTNERS = tuple(f"p{number}" for number in range(1, 31))
PUSHES = queue_of("push.requested.v1")
# Every push locks its partner's row; the worker's own word that it lives, and the notes of what it has in hand, do not.
LOCK = b"INTO leases"
# A message that is given back takes its note back.
TAKE_BACK = b"UPDATE in_hand"
WITHIN = 120.0


@pytest.fixture
def line(own_postgresql: OwnPostgresql) -> Iterator[Proxy]:
    """The way to the database."""
    with proxy.before(own_postgresql.port) as line:
        yield line


@pytest.fixture
def direct_url(own_postgresql: OwnPostgresql) -> Iterator[str]:
    """The database, as it is reached beside the proxy."""
    with Postgresql(own_postgresql.url).database() as url:
        yield url


@pytest.fixture
def world(own_rabbitmq: OwnRabbitMQ, direct_url: str, line: Proxy, tmp_path: Path) -> Iterator[World]:
    """An installation of 30 partners that reaches its database by the proxy."""
    port = str(pika.URLParameters(direct_url.replace("postgresql", "amqp")).port)
    with World(own_rabbitmq.url, direct_url.replace(port, str(line.port)), tmp_path, PARTNERS, companies=1) as world:
        yield world
        line.pass_on()


@pytest.fixture
def channel(own_rabbitmq: OwnRabbitMQ) -> Iterator[Any]:
    """A channel to ask RabbitMQ of its queues."""
    with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as connection:
        yield connection.channel()


def pushed(world: World) -> list[PushRequested]:
    """A push of each partner."""
    pushes = [world.push(partner, {1: 10}) for partner in world.partners]
    world.publish(*pushes)
    return pushes


def state(world: World, channel: Any, queue: str = PUSHES) -> tuple[int, int]:
    """The number of consumers that the queue has, and of messages that nobody holds."""
    said = channel.queue_declare(f"{world.settings.queue_prefix}{queue}", passive=True).method
    return said.consumer_count, said.message_count


def logged(world: World, event: str) -> int:
    """The number of times that the workers have logged this event."""
    logs = [path.read_text("utf-8").splitlines() for path in world.folder.glob("worker-*.log")]
    return sum(json.loads(line)["event"] == event for log in logs for line in log if line.startswith("{"))


def outages(world: World, count: int) -> bool:
    """True if the workers have found the store back so often."""
    return logged(world, "store.fine") >= count


def wait_for_a_consumer_timeout(channel: Any) -> None:
    """Hold a delivery for so long that RabbitMQ closes the channel."""
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", name, b"held")
    wait_for(lambda: channel.basic_get(name)[0], "the delivery")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="timed out"):
        channel.consume(name, inactivity_timeout=within(WITHIN)).__next__()


def assert_all_accepted(world: World, line: Proxy, pushes: list[PushRequested], channel: Any) -> None:
    """The store is back: every push is done with, and there is no dead letter anywhere."""
    line.pass_on()
    world.database.close()  # the connections of the test's own are broken too
    done = [partial(world.state_of, push) for push in pushes]
    wait_for(lambda: all(state() == "completed" for state in done), "all pushes", WITHIN)
    assert Letters(world).all() == []
    assert state(world, channel, QUEUE_DEAD)[1] == 0


def test_pushes_outlast_a_broken_weekend(world: World, own_rabbitmq: OwnRabbitMQ, line: Proxy, channel: Any) -> None:
    """The database is away for longer than RabbitMQ waits for consumers, then 60 times when a push is to be stored.

    A worker is killed in between. Then all 30 pushes are accepted, none is a dead letter.
    """
    with own_rabbitmq.consumer_timeout(2.0):
        worker = world.start_worker()
        wait_for(lambda: state(world, channel)[0] == 1, "the worker to consume")
        line.refuse()
        pushes = pushed(world)
        with pika.BlockingConnection(pika.URLParameters(own_rabbitmq.url)) as another:
            wait_for_a_consumer_timeout(another.channel())
        line.cut_at(LOCK)
        wait_for(lambda: outages(world, 30), "30 outages", WITHIN)
        worker.kill()
        worker.wait()
        world.start_worker()
        wait_for(lambda: outages(world, 62), "30 more", WITHIN)
        assert_all_accepted(world, line, pushes, channel)
        assert logged(world, "broker.trouble") == 0


def test_nothing_is_consumed_while_the_store_is_away(world: World, line: Proxy, channel: Any) -> None:
    """RabbitMQ has all messages and no consumer of a worker that runs or of one that starts; then all is handled."""
    world.start_worker()
    wait_for(lambda: state(world, channel) == (1, 0), "the worker to consume")
    line.refuse()
    pushes = pushed(world)
    wait_for(lambda: state(world, channel) == (0, len(pushes)), "all messages to be free")
    trouble = logged(world, "store.trouble")
    world.start_worker()
    wait_for(lambda: logged(world, "store.trouble") > trouble, "the second worker to miss the store")
    queues = [queue.name for queue in world.broker.topology.queues if queue.kind is not None]
    assert {channel.queue_declare(name, passive=True).method.consumer_count for name in queues} == {0}
    assert state(world, channel) == (0, len(pushes))
    assert_all_accepted(world, line, pushes, channel)
    wait_for(lambda: state(world, channel) == (2, 0), "both to consume")


def test_no_message_is_blamed_for_an_outage(world: World, direct_url: str, line: Proxy, channel: Any) -> None:
    """A push whose note in hand is stored each time before the store goes away is no `crashed` one.

    Workers that are stopped meanwhile exit in good order.
    """
    line.cut_at(LOCK, TAKE_BACK)
    (push,) = [world.push("p1", {1: 10})]
    world.publish(push)
    for number in range(1, 5):
        worker = world.start_worker()
        wait_for(lambda number=number: outages(world, 5 * number), "five outages", WITHIN)  # type: ignore[misc]
        worker.terminate()
        assert worker.wait(timeout=within(30)) == 0
    with psycopg.connect(direct_url) as connection:
        assert connection.execute("SELECT tries FROM in_hand WHERE tries > 3").fetchall()
    world.start_worker()
    assert_all_accepted(world, line, [push], channel)

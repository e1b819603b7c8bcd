"""The relay beside a queue that is full: what is for it waits, what is not leaves."""

import uuid
from collections.abc import Iterator

import pika
import pytest
from sqlalchemy import func, select, text

from messages import Message
from store import Database, Tx, dead_letters, outbox
from store.outbox import Claim, OutboxRow
from store.schema import outbox as table
from tests.support.samples import mapping_changed, push, sync_result
from tests.support.waiting import wait_for
from worker.health import Readiness
from worker.messaging import full_queues
from worker.messaging.rabbitmq import RabbitBroker
from worker.messaging.relay import Relay
from worker.topology import Topology

pytestmark = pytest.mark.parametrize("backend", ["postgresql"])


@pytest.fixture
def broker(amqp_url: str) -> Iterator[RabbitBroker]:
    """With its queues, and names of the test's own."""
    broker = RabbitBroker(amqp_url, Topology(prefix=f"test-{uuid.uuid4()}."))
    broker.declare()
    yield broker
    broker.close()
    broker.delete()


@pytest.fixture
def reader(amqp_url: str, broker: RabbitBroker) -> Iterator[tuple[pika.channel.Channel, str]]:
    """Another reader of results, whose queue has room for a single one."""
    name = f"{broker.topology.prefix}reader"
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.queue_bind(name, broker.topology.exchange("connectwise.sync"), "sync.result.v1")
        yield channel, name
        channel.queue_delete(name)


def _put(database: Database, *messages: Message) -> None:
    with database.begin() as tx:
        outbox.put(tx, *messages)


def _waiting(database: Database) -> dict[str, int]:
    """The number of rows of each routing key that wait, none of them tried."""
    with database.begin() as tx:
        assert set(tx.execute(select(table.c.attempts)).scalars()) <= {0}
        rows = tx.execute(select(table.c.routing_key, func.count()).group_by(table.c.routing_key))
        return dict(rows.all())


def test_a_full_queue_is_waited_for_and_holds_up_nothing_else(
    database: Database,
    broker: RabbitBroker,
    reader: tuple[pika.channel.Channel, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long a platform does not read, its results wait, `health` says so, and they leave once there is room."""
    monkeypatch.setattr(full_queues, "PAUSE_FIRST", 0.02)
    monkeypatch.setattr(full_queues, "PAUSE_MOST", 0.05)
    readiness = Readiness()
    relay = Relay(database, broker, readiness, lambda row: row)
    event = push(users={f"c-{number}": 1 for number in range(20)})
    _put(database, *(sync_result(event, line.company_id) for line in event.lines))

    def is_refused() -> bool:
        relay.relay_batch()
        return "full or failed" in readiness.troubles.get("publisher", "")

    wait_for(is_refused, "refusals")
    _put(database, mapping_changed())
    for _ in range(50):
        relay.relay_batch()
    left = _waiting(database)
    assert left.keys() == {"sync.result.v1"}
    assert "publisher" in readiness.troubles
    channel, name = reader
    read: list[str] = []

    def read_some() -> bool:
        relay.relay_batch()
        method, properties, _ = channel.basic_get(name, auto_ack=True)
        read.extend([properties.message_id] if method else [])
        return len(set(read)) == len(event.lines)

    wait_for(read_some, "all results")
    wait_for(lambda: not relay.relay_batch() and _waiting(database) == {}, "the outbox to be empty")
    assert "publisher" not in readiness.troubles
    with database.begin() as tx:
        assert dead_letters.count_by_reason(tx) == {}


def test_what_an_outage_of_the_store_cut_off_leaves_once_it_is_over(
    database: Database, broker: RabbitBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ends in the middle of a batch does not have all of it wait for the end of its claim."""
    event = push(users={f"c-{number}": 1 for number in range(20)})
    _put(database, *(sync_result(event, line.company_id) for line in event.lines))
    relay, read, cut_off = Relay(database, broker, Readiness(), lambda row: row), outbox.read, list[int]()

    def reading(tx: Tx, claimed: Claim) -> list[OutboxRow]:
        if not cut_off:
            cut_off.extend(claimed.ids)
            tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return read(tx, claimed)

    monkeypatch.setattr(outbox, "read", reading)
    assert not relay.relay_batch()
    assert len(cut_off) == len(event.lines)
    for _ in cut_off:
        assert relay.relay_batch()
    assert _waiting(database) == {}

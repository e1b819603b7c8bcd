"""The promises of both brokers (worker/messaging/broker.py): RabbitMQ, and the outbox of the embedded worker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from messages import MappingChanged, Message
from store import now, outbox
from store.amqp_properties import as_copied
from store.outbox import OutboxRow
from tests.support.forked import FORK_SERVER, ROOT, Forked
from tests.support.waiting import wait_for
from tests.support.watched import watched
from tests.support.world import World
from worker import bootstrap
from worker.health import Readiness
from worker.messaging.broker import Delivery, Settle, Settlement
from worker.messaging.rabbitmq import RabbitBroker
from worker.messaging.relay import Relay
from worker.topology import KIND_DEAD, KINDS


@pytest.fixture(params=["rabbitmq", "embedded"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An installation on RabbitMQ with PostgreSQL, and an embedded one."""
    names = {"rabbitmq": ("amqp_url", "postgresql_url"), "embedded": (None, "sqlite_url")}[request.param]
    broker_url = request.getfixturevalue(names[0]) if names[0] else "local:"
    with World(broker_url, request.getfixturevalue(str(names[1])), tmp_path) as world:
        yield world


class Consumer:
    """Consumes in a thread, unless it is `paused`; `answer` says what to do with each delivery."""

    def __init__(self, world: World, answer: Callable[[Delivery, Settle], None]) -> None:
        self.got: list[Delivery] = []
        self.stop, self.paused = threading.Event(), threading.Event()

        def deliver(delivery: Delivery, settle: Settle) -> None:
            self.got.append(delivery)
            answer(delivery, settle)

        # As in a process of its own: nothing but the database tells it of others' work.
        self.database = bootstrap.open_database(world.settings)
        self.broker = bootstrap.open_broker(world.settings, self.database)
        consume = partial(self.broker.consume, deliver, self.stop, self.paused.is_set)
        self.thread = threading.Thread(target=consume, daemon=True)

    def ids(self) -> list[str | None]:
        """The message ids, as they came."""
        return [delivery.message_id for delivery in list(self.got)]


@contextmanager
def consuming(
    world: World, answer: Callable[[Delivery, Settle], None] = lambda _, settle: settle(Settlement.ACK)
) -> Iterator[Consumer]:
    """Consume while the block lasts."""
    consumer = Consumer(world, answer)
    with closing(consumer.database), closing(consumer.broker):
        with watched(consumer.database):
            consumer.thread.start()
            yield consumer
            consumer.stop.set()
        consumer.thread.join()


def mappings(world: World, count: int) -> list[MappingChanged]:
    """Messages that are all different."""
    return [world.mapped("p1", number) for number in range(1, count + 1)]


def process(world: World, path: Path, answer_first: int) -> Forked:
    """A consumer that can be killed."""
    given = [str(path), str(answer_first)]
    return FORK_SERVER.start("tests.support.consuming", given, folder=ROOT, environment=world.environment)


def test_a_message_arrives_as_it_was_sent(world: World) -> None:
    """Body, type and id reach the handler unharmed, marked as new."""
    (message,) = mappings(world, 1)
    world.publish(message)
    with consuming(world) as consumer:
        wait_for(lambda: consumer.got, "the delivery")
    (delivery,) = consumer.got
    assert delivery.kind == "mapping.changed.v1"
    assert delivery.queue == "connectwise.mapping-changed.v1"
    assert delivery.message_id == str(message.id)
    assert delivery.properties["type"] == "mapping.changed.v1"
    assert not delivery.redelivered
    assert MappingChanged.model_validate_json(delivery.body) == message


def test_what_a_killed_process_had_in_hand_is_delivered_again(world: World, tmp_path: Path) -> None:
    """A message that was not settled when the process died comes again, marked as redelivered."""
    (message,) = mappings(world, 1)
    world.publish(message)
    notes = tmp_path / "notes"
    killed = process(world, notes, answer_first=0)
    wait_for(lambda: notes.exists() and notes.read_text(), "the first delivery")
    killed.kill()
    killed.wait()
    with consuming(world) as consumer:
        wait_for(lambda: consumer.got, "the second delivery")
    assert consumer.ids() == [str(message.id)]
    assert consumer.got[0].redelivered


def _has_lines(notes: Path, count: int) -> bool:
    return notes.exists() and len(notes.read_text().splitlines()) >= count


def test_nothing_is_lost_when_consumers_are_killed(world: World, tmp_path: Path) -> None:
    """Of 200 messages, with three consumers killed half-way, every one is settled in the end."""
    sent = mappings(world, 200)
    world.publish(*sent)
    for number in range(3):
        notes = tmp_path / f"notes-{number}"
        killed = process(world, notes, answer_first=30)
        wait_for(partial(_has_lines, notes, 31), "deliveries")
        killed.kill()
        killed.wait()
    early = [line.split()[0] for n in range(3) for line in (tmp_path / f"notes-{n}").read_text().splitlines()[:30]]
    with consuming(world) as consumer:
        wait_for(lambda: set(early) | set(consumer.ids()) == {str(message.id) for message in sent}, "all messages")


def test_a_message_is_not_early(world: World) -> None:
    """A delay is honoured: the message comes when it is due, not before."""
    (message,) = mappings(world, 1)
    with world.database.begin() as tx:
        due = now(tx) + timedelta(seconds=1)
        outbox.put(tx, message, not_before=due)
    stop = threading.Event()
    relay = threading.Thread(target=Relay(world.database, world.broker, Readiness(), lambda row: row).run, args=(stop,))
    with consuming(world) as consumer, watched(world.database):
        if isinstance(world.broker, RabbitBroker):
            relay.start()
        wait_for(lambda: consumer.got, "the delivery")
        with world.database.begin() as tx:
            assert now(tx) >= due
        stop.set()
    if relay.ident is not None:
        relay.join()


class Unheard(Message):
    """A kind that nobody handles."""

    type: Literal["unheard.v1"] = "unheard.v1"
    source: str = "test"


def test_publishing_what_no_queue_takes_raises(world: World) -> None:
    """A message that would go nowhere is an error at once, not a loss."""
    with pytest.raises(bootstrap.UnroutableMessage, match="no queue takes it"):
        world.publish(Unheard(partner_id="p1", correlation_id="test"))


def test_what_no_queue_takes_is_refused_whatever_it_is_called(world: World) -> None:
    """A message may have no id, or the header of a replay besides its own: it is refused as well."""
    replayed = {"message_id": "m-1", "headers": {"phin-replay": "00000000-0000-0000-0000-000000000001/1"}}
    rows = [OutboxRow(0, "", 0, "", "nobody", {"message_id": None, "headers": {}}, b"no id")]
    rows += [OutboxRow(0, "m-1", 0, "", "nobody", replayed, b"a replay")]
    rows += [outbox.row_of(message) for message in mappings(world, 1)]
    refusals = world.broker.publish(rows)
    assert [refusal is not None for refusal in refusals] == [True, True, False]


def test_a_message_to_be_tried_again_holds_up_no_other(world: World) -> None:
    """Order is not promised: what is given back comes again while the others go on."""
    sent = mappings(world, 20)
    world.publish(*sent)
    refused = str(sent[0].id)
    times = 0

    def answer(delivery: Delivery, settle: Settle) -> None:
        nonlocal times
        times += delivery.message_id == refused
        settle(Settlement.REQUEUE if delivery.message_id == refused and times < 3 else Settlement.ACK)

    with consuming(world, answer) as consumer:
        wait_for(lambda: consumer.ids().count(refused) == 3, "the third try")
        wait_for(lambda: set(consumer.ids()) == {str(message.id) for message in sent}, "all messages")
    assert [d.redelivered for d in consumer.got if d.message_id == refused] == [False, True, True]


def test_stopping_waits_for_what_is_in_hand(world: World) -> None:
    """A consumer that stops takes nothing new and ends when the last verdict is stored, so no work is done twice."""
    (message,) = mappings(world, 1)
    world.publish(message)
    held: list[Settle] = []
    with consuming(world, lambda _, settle: held.append(settle)) as consumer:
        wait_for(lambda: held, "the delivery")
        consumer.stop.set()
        assert consumer.thread.is_alive()
        held[0](Settlement.ACK)
        consumer.thread.join()
    with consuming(world) as later:
        second = world.mapped("p1", 2)
        world.publish(second)
        wait_for(lambda: later.got, "the second message")
    assert later.ids() == [str(second.id)]


def test_a_message_may_be_released_for_ever(world: World) -> None:
    """A message given back through no fault of its own comes again as it was sent: not given up, blamed for nothing.

    25 times, which is more than RabbitMQ's delivery limit.
    """
    (row,) = [outbox.row_of(message) for message in mappings(world, 1)]
    row.properties["headers"] = {"x-own": 1, "phin-replay": "00000000-0000-0000-0000-000000000001/1"}
    assert world.broker.publish([row]) == [None]

    def answer(_: Delivery, settle: Settle) -> None:
        settle(Settlement.RELEASE if len(consumer.got) <= 25 else Settlement.ACK)

    with consuming(world, answer) as consumer:
        wait_for(lambda: len(consumer.got) == 26, "26 deliveries")
    assert {delivery.kind for delivery in consumer.got} == {"mapping.changed.v1"}
    assert {delivery.body for delivery in consumer.got} == {row.body}
    assert [as_copied(delivery.properties) for delivery in consumer.got] == [as_copied(consumer.got[0].properties)] * 26
    assert consumer.got[0].properties["headers"] == row.properties["headers"]
    assert max(delivery.delivery_count for delivery in consumer.got) <= 1


def test_a_paused_consumer_has_nothing(world: World) -> None:
    """While it is paused nothing is delivered to it, and what it released is another's; afterwards it goes on."""
    *sent, last = mappings(world, 21)
    held: list[Settle] = []

    def answer(delivery: Delivery, settle: Settle) -> None:
        if delivery.message_id == str(last.id):
            settle(Settlement.ACK)
        elif consumer.paused.is_set():
            settle(Settlement.RELEASE)
        else:
            held.append(settle)

    world.publish(*sent[:10])
    with consuming(world, answer) as consumer:
        wait_for(lambda: len(held) == 10, "the deliveries")
        consumer.paused.set()
        for settle in held:
            settle(Settlement.RELEASE)
        world.publish(*sent[10:])
        with consuming(world) as other:
            wait_for(lambda: len(set(other.ids())) == 20, "all messages at the other consumer")
        consumer.paused.clear()
        world.publish(last)
        wait_for(lambda: str(last.id) in consumer.ids(), "a message after the pause")


def test_what_waits_in_queues_can_be_read(world: World) -> None:
    """An operator sees how much waits in each queue and who reads it; without a broker there is no queue to read."""
    world.publish(world.mapped("p1", 1))
    depths = {depth.kind: depth for depth in world.broker.depths()}
    if world.platform is None:
        assert depths == {}
        return
    wait_for(lambda: any(depth.messages for depth in world.broker.depths()), "the message")
    waiting = {depth.kind: (depth.messages, depth.consumers) for depth in world.broker.depths()}
    assert waiting["mapping.changed.v1"] == (1, 0)
    assert set(waiting) == {*KINDS.values(), KIND_DEAD, None}  # None: the platform reads it

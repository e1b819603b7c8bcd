"""The users that `topology definitions` makes, on a RabbitMQ that has imported them at its start."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pika
import pytest

from store import outbox
from tests.support.commands import run
from tests.support.own_servers import OwnRabbitMQ, own
from tests.support.waiting import wait_for
from worker.health import Readiness
from worker.messaging.broker import Delivery, Settle, Settlement, TopologyMismatch
from worker.messaging.rabbitmq import RabbitBroker
from worker.topology import Topology

USERS = ("platform", "worker", "operator", "setup")
GUEST = {"name": "guest", "password": "guest", "tags": ["administrator"]}
PUSH, RESULT = "push.requested.v1", "sync.result.v1"
PUSHES, DEAD, RESULTS = "connectwise.push-requested.v1", "connectwise.dead.v1", "phin.connectwise-results.v1"
TOPOLOGY = Topology()
ARGUMENTS = {queue.name: queue.arguments for queue in TOPOLOGY.queues}
QUORUM = {"x-queue-type": "quorum"}

Operation = Callable[[Any], object]


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRabbitMQ]:
    """A RabbitMQ with the users of a production, whose passwords are their names, and with the topology."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "passwords").mkdir()
    for user in USERS:
        (folder / "passwords" / user).write_text(f"{user}\n")
    made = run("topology", "definitions", "--passwords", "passwords", folder=folder)
    assert made.stderr == "The user monitor has no password.\n"
    definitions = json.loads(made.stdout)
    definitions["users"].append(GUEST)
    definitions["permissions"].append({"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"})
    with own(partial(OwnRabbitMQ, definitions=json.dumps(definitions))) as server:
        RabbitBroker(url_of(server, "setup"), TOPOLOGY).declare()
        with channel_of(server, "guest") as channel:
            channel.queue_declare("phin.replies", durable=True, arguments=QUORUM)
        yield server


def url_of(server: OwnRabbitMQ, user: str) -> str:
    """Return the URL of this user, whose password is its name."""
    return server.url.replace("guest:guest", f"{user}:{user}")


@contextmanager
def channel_of(server: OwnRabbitMQ, user: str) -> Iterator[Any]:
    """A channel with confirms of this user, on a connection of its own."""
    with closing(pika.BlockingConnection(pika.URLParameters(url_of(server, user)))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def publish(exchange: str, key: str) -> Operation:
    """Publish to an exchange, which routes it to a queue."""
    return lambda channel: channel.basic_publish(exchange, key, b"{}", mandatory=True)


def consume(queue: str) -> Operation:
    """Become a consumer."""
    return lambda channel: channel.basic_consume(queue, lambda *_: None)


def look(queue: str) -> Operation:
    """Ask for a queue, declaring nothing."""
    return lambda channel: channel.queue_declare(queue, passive=True)


def declare(queue: str) -> Operation:
    """Declare a queue as it is, or a new one."""
    return lambda channel: channel.queue_declare(queue, durable=True, arguments=ARGUMENTS.get(queue, QUORUM))


def bind(queue: str, exchange: str, key: str) -> Operation:
    """Bind a queue."""
    return lambda channel: channel.queue_bind(queue, exchange, key)


def delete(queue: str) -> Operation:
    """Delete a queue."""
    return lambda channel: channel.queue_delete(queue)


def delete_exchange(exchange: str) -> Operation:
    """Delete an exchange."""
    return lambda channel: channel.exchange_delete(exchange)


ALLOWED: dict[str, tuple[str, Operation]] = {
    "the platform publishes a push": ("platform", publish("phin.billing", PUSH)),
    "the platform publishes a connection": ("platform", publish("phin.billing", "connection.changed.v1")),
    "the platform reads results": ("platform", consume(RESULTS)),
    "the platform looks for its queue": ("platform", look(RESULTS)),
    "the worker consumes pushes": ("worker", consume(PUSHES)),
    "the worker consumes what RabbitMQ gave up": ("worker", consume(DEAD)),
    "the worker looks for queues": ("worker", look(PUSHES)),
    "the worker publishes results": ("worker", publish("connectwise.sync", RESULT)),
    "the worker answers to a queue": ("worker", publish("", "phin.replies")),
    "the worker replays into a queue": ("worker", publish("", PUSHES)),
    "an operator's command publishes a push": ("operator", publish("phin.billing", PUSH)),
    "an operator's command looks for queues": ("operator", look(PUSHES)),
    "setup declares a queue that is there": ("setup", declare(PUSHES)),
    "setup binds it": ("setup", bind(PUSHES, "phin.billing", PUSH)),
    "setup deletes a queue of an earlier version": ("setup", delete("connectwise.partner-due.v1")),
}

REFUSED: dict[str, tuple[str, Operation]] = {
    "the platform publishes a result": ("platform", publish("phin.billing", RESULT)),
    "the platform publishes to the worker's exchange": ("platform", publish("connectwise.sync", RESULT)),
    "the platform publishes past the exchange": ("platform", publish("", PUSHES)),
    "the platform makes dead letters": ("platform", publish("connectwise.dead", PUSH)),
    "the platform reads events": ("platform", consume(PUSHES)),
    "the platform reads dead letters": ("platform", consume(DEAD)),
    "the platform declares a queue": ("platform", declare("phin.another")),
    "the platform binds its queue to events": ("platform", bind(RESULTS, "phin.billing", "#")),
    "the platform deletes its queue": ("platform", delete(RESULTS)),
    "the worker reads results": ("worker", consume(RESULTS)),
    "the worker publishes an event": ("worker", publish("phin.billing", PUSH)),
    "the worker publishes an event as a result": ("worker", publish("connectwise.sync", PUSH)),
    "the worker declares a queue": ("worker", declare(PUSHES)),
    "the worker deletes a queue": ("worker", delete(PUSHES)),
    "the worker deletes an exchange": ("worker", delete_exchange("phin.billing")),
    "an operator's command publishes a result": ("operator", publish("connectwise.sync", RESULT)),
    "an operator's command publishes an unknown kind": ("operator", publish("phin.billing", "push.forged.v1")),
    "an operator's command publishes past the exchange": ("operator", publish("", PUSHES)),
    "an operator reads events, which counts as a delivery": ("operator", consume(PUSHES)),
    "an operator declares a queue": ("operator", declare("phin.another")),
    "setup publishes an event": ("setup", publish("phin.billing", PUSH)),
    "setup declares a queue of another's": ("setup", declare("phin.another")),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_a_user_may_do_its_work(rabbitmq: OwnRabbitMQ, what: str) -> None:
    """Nobody needs an administrator's password to do what is theirs to do."""
    user, operation = ALLOWED[what]
    with channel_of(rabbitmq, user) as channel:
        operation(channel)


@pytest.mark.parametrize("what", REFUSED)
def test_a_user_may_do_nothing_else(rabbitmq: OwnRabbitMQ, what: str) -> None:
    """Whoever learns the password of one user cannot do what another's is for."""
    user, operation = REFUSED[what]
    refused = pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED")
    with channel_of(rabbitmq, user) as channel, refused:
        operation(channel)


@pytest.mark.parametrize("user", ["monitor", "worker"])
def test_nobody_logs_in_without_a_password(rabbitmq: OwnRabbitMQ, user: str) -> None:
    """A user that was given no password is closed, not open."""
    url = rabbitmq.url.replace("guest:guest", f"{user}:")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(pika.URLParameters(url))


def test_a_worker_needs_no_right_to_configure(rabbitmq: OwnRabbitMQ) -> None:
    """The worker's user consumes what the platform's publishes, answers, and gives up what it cannot settle."""
    taken: list[Delivery] = []
    stop = threading.Event()

    def deliver(delivery: Delivery, settle: Settle) -> None:
        taken.append(delivery)
        settle(Settlement.ACK)

    broker = RabbitBroker(url_of(rabbitmq, "worker"), TOPOLOGY)
    thread = threading.Thread(target=broker.consume, args=(deliver, stop), daemon=True)
    thread.start()
    with channel_of(rabbitmq, "platform") as channel:
        publish("phin.billing", "revert.requested.v1")(channel)
    with channel_of(rabbitmq, "guest") as channel:
        publish("connectwise.dead", "revert.requested.v1")(channel)
    wait_for(lambda: {"revert.requested.v1", "dead.v1"} <= {delivery.kind for delivery in taken}, "both messages")
    assert broker.publish([outbox.new_row("connectwise.sync", RESULT, {"message_id": "m-1"}, b"{}")]) == [None]
    stop.set()
    thread.join()
    broker.close()


def test_a_worker_without_that_right_says_who_has_it(rabbitmq: OwnRabbitMQ) -> None:
    """A queue that is missing, and that the worker may not make, is named by `health` with what to run."""
    readiness, stop = Readiness(), threading.Event()
    broker = RabbitBroker(url_of(rabbitmq, "worker"), Topology(prefix="other."), readiness=readiness)
    thread = threading.Thread(target=broker.consume, args=(lambda *_: None, stop), daemon=True)
    thread.start()
    said = "other.phin.billing is missing; run `phin-connectwise topology declare`"
    wait_for(lambda: readiness.troubles.get("broker") == said, "the worker to say so")
    stop.set()
    thread.join()
    with pytest.raises(TopologyMismatch, match=r"may not configure it .* as RabbitMQ's user `setup`"):
        broker.declare()
    broker.close()

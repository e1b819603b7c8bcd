"""Publishing many rows at once: which of them a channel or connection dies of, and what becomes of the others."""

import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from store.outbox import OutboxRow
from tests.support import proxy
from worker.messaging.broker import Fault, Refusal
from worker.messaging.rabbitmq import RabbitBroker
from worker.messaging.rabbitmq.publishing import ConfirmedChannel
from worker.topology import Topology

QUEUE = "connectwise.push-requested.v1"
TOO_LARGE_A_HEADER: dict[str, Any] = {"x": "y" * 132_000}


@pytest.fixture
def topology() -> Topology:
    """Names of the test's own."""
    return Topology(prefix=f"test-{uuid.uuid4()}.")


@pytest.fixture
def broker(amqp_url: str, topology: Topology) -> Iterator[RabbitBroker]:
    """With its queues."""
    broker = RabbitBroker(amqp_url, topology)
    broker.declare()
    yield broker
    broker.close()
    broker.delete()


def _row(
    number: int, *, routing_key: str = QUEUE, exchange: str = "", body: bytes = b"{}", **headers: Any
) -> OutboxRow:
    properties = {"message_id": f"m-{number}", "type": "push.requested.v1", "headers": headers}
    return OutboxRow(number, f"m-{number}", 1, exchange, routing_key, properties, b"{}")


def _received(amqp_url: str, topology: Topology) -> list[str]:
    """The ids of all that is in the queue."""
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel, ids = connection.channel(), []
        while (got := channel.basic_get(f"{topology.prefix}{QUEUE}", auto_ack=True))[0] is not None:
            ids.append(got[1].message_id)
        return ids


def _faults(outcomes: list[Refusal | None]) -> list[Fault | None]:
    return [outcome.fault if outcome else None for outcome in outcomes]


POISON: dict[str, tuple[OutboxRow, Fault]] = {
    "its properties do not fit into a frame": (_row(99, **TOO_LARGE_A_HEADER), Fault.CHANNEL),
    "its exchange does not exist": (_row(99, exchange="nobody", routing_key="k"), Fault.CHANNEL),
    "a header is no number of AMQP's": (_row(99, n=2**70), Fault.CHANNEL),
    "no queue takes it": (_row(99, routing_key="nobody"), Fault.MESSAGE),
}


@pytest.mark.parametrize(("poison", "fault"), POISON.values(), ids=POISON.keys())
def test_a_row_that_closes_the_connection_is_refused_and_the_others_arrive(
    amqp_url: str, broker: RabbitBroker, topology: Topology, poison: OutboxRow, fault: Fault
) -> None:
    """One row may have any fault: the others of its batch are safe, and it alone is to blame."""
    rows = [_row(1), _row(2), poison, _row(3), poison, _row(4)]
    for _ in range(2):
        outcomes = broker.publish(rows)
        assert _faults(outcomes) == [None, None, fault, None, fault, None]
    received = _received(amqp_url, topology)
    assert set(received) == {"m-1", "m-2", "m-3", "m-4"}
    assert len(received) <= 2 * 4 * 2


def test_many_such_rows_do_not_look_like_an_outage(broker: RabbitBroker) -> None:
    """A dozen pushes with headers that are too large are refused one by one, and what is behind them leaves."""
    rows = [_row(number, **TOO_LARGE_A_HEADER) for number in range(12)]
    assert _faults(broker.publish([*rows, _row(20)])) == [*[Fault.CHANNEL] * 12, None]


def test_a_full_queue_is_not_the_fault_of_a_row(amqp_url: str, broker: RabbitBroker, topology: Topology) -> None:
    """Messages that a full queue does not take wait for room there, and what goes elsewhere leaves."""
    name = f"{topology.prefix}full"
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        rows = [*[_row(number, routing_key="full") for number in range(5)], _row(9)]
        faults = _faults(broker.publish(rows))
        channel.queue_delete(name)
    assert faults[-1] is None
    assert set(faults) == {None, Fault.QUEUE}


def test_a_broker_that_is_away_is_nobodys_fault(topology: Topology) -> None:
    """In an outage everything waits, and nothing comes nearer to its dead letter."""
    away = RabbitBroker("amqp://guest:guest@127.0.0.1:9/", topology)
    outcomes = away.publish([_row(1), _row(2)])
    assert _faults(outcomes) == [Fault.BROKER, Fault.BROKER]
    assert outcomes[0] is not None
    assert "127.0.0.1:9" in outcomes[0].why


def test_a_connection_that_is_lost_with_every_row_is_no_rows_fault(
    amqp_url: str, broker: RabbitBroker, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker, or what is before it, that drops whoever publishes makes no dead letters, one row or many."""
    port = pika.URLParameters(amqp_url).port
    with proxy.before(port) as line:
        dropped = RabbitBroker(amqp_url.replace(str(port), str(line.port)), topology)
        send = ConfirmedChannel._send

        def cut(self: ConfirmedChannel, number: int, row: OutboxRow) -> None:
            line.cut()
            send(self, number, row)

        monkeypatch.setattr(ConfirmedChannel, "_send", cut)
        assert _faults(dropped.publish([_row(1)])) == [Fault.BROKER]
        assert _faults(dropped.publish([_row(number) for number in range(6)])) == [Fault.BROKER] * 6
        dropped.close()


def test_an_exchange_of_ours_that_is_missing_is_waited_for(broker: RabbitBroker, topology: Topology) -> None:
    """Somebody deleted an exchange: what goes there waits until it is declared again."""
    with pika.BlockingConnection(pika.URLParameters(broker._server.url)) as connection:
        connection.channel().exchange_delete(topology.exchange("connectwise.sync"))
    rows = [_row(1), _row(2, exchange="connectwise.sync", routing_key="sync.result.v1"), _row(3)]
    assert _faults(broker.publish(rows)) == [None, Fault.QUEUE, None]
    broker.declare()
    assert _faults(broker.publish(rows)) == [None, None, None]

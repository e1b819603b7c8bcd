"""Consuming from RabbitMQ when its connection or a channel breaks."""

import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from time import monotonic
from uuid import uuid4

from store import outbox
from store.database import AT_ONCE_BYTES
from tests.support import proxy
from tests.support.own_servers import OwnRabbitMQ
from tests.support.waiting import wait_for, within
from worker.health import Readiness
from worker.messaging.broker import Delivery, Settle, Settlement
from worker.messaging.handler_pool import HandlerPool
from worker.messaging.rabbitmq import RabbitBroker
from worker.topology import Topology

KIND = "mapping.changed.v1"
HELD_UP = ("m-1", "m-2")
SIZE = 4 * 1024 * 1024


class Handler:
    """A lane of two threads; the first deliveries of two messages hold it up until they are let go."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.beside: list[str] = []
        self.settles: list[Settle] = []
        self.go = {name: threading.Event() for name in HELD_UP}
        self._lock = threading.Lock()
        self.lane = HandlerPool(KIND, self.handle, threads=2)

    def deliver(self, delivery: Delivery, settle: Settle) -> None:
        """Put it into the lane."""
        self.settles.append(settle)
        self.lane.put(delivery, settle)

    def handle(self, deliveries: Sequence[Delivery]) -> list[Settlement]:
        """Count, and find out what is handled beside itself."""
        name = str(deliveries[0].message_id)
        with self._lock:
            self.begun[name] += 1
            self.at_once[name] += 1
            if self.at_once[name] > 1:
                self.beside.append(name)
        if name in self.go:
            self.go[name].wait()
        with self._lock:
            self.at_once[name] -= 1
        return [Settlement.ACK]


def test_what_a_dead_connection_delivered_is_not_handled_beside_its_repetition(own_rabbitmq: OwnRabbitMQ) -> None:
    """The connection breaks: what is in hand ends before it is handled again, what only waited is handled once."""
    handler, stop = Handler(), threading.Event()
    with proxy.before(own_rabbitmq.port) as line:
        url = own_rabbitmq.url.replace(str(own_rabbitmq.port), str(line.port))
        broker = RabbitBroker(url, Topology(prefix=f"test-{uuid4().hex[:8]}."))
        broker.declare()
        rows = [outbox.new_row("phin.billing", KIND, {"message_id": f"m-{n}"}, b"{}") for n in range(1, 4)]
        thread = threading.Thread(target=broker.consume, args=(handler.deliver, stop), daemon=True)
        thread.start()
        assert broker.publish(rows[:2]) == [None, None]
        wait_for(lambda: handler.begun == {"m-1": 1, "m-2": 1}, "both threads to be held up")
        assert broker.publish(rows[2:]) == [None]
        wait_for(lambda: handler.lane._items, "a third delivery that waits")
        line.cut()
        wait_for(handler.settles[0].lost.is_set, "the consumer to notice")
        handler.go["m-2"].set()
        wait_for(lambda: handler.begun == {"m-1": 1, "m-2": 2, "m-3": 1}, "what the first does not hold up")
        handler.go["m-1"].set()
        wait_for(lambda: handler.begun == {"m-1": 2, "m-2": 2, "m-3": 1}, "the repetition of the first")
        stop.set()
        thread.join()
        assert handler.beside == []
        assert handler.lane.stop(monotonic() + within(10.0))
        broker.delete()
        broker.close()


def test_a_channel_that_rabbitmq_closes_takes_no_other_with_it(own_rabbitmq: OwnRabbitMQ) -> None:
    """A mapping is held for too long: it comes again, and the pushes in hand meanwhile are delivered once."""
    held: dict[str, list[Settle]] = {"mapping.changed.v1": [], "push.requested.v1": []}
    counts: Counter[str] = Counter()
    readiness, stop = Readiness(), threading.Event()

    def deliver(delivery: Delivery, settle: Settle) -> None:
        counts[str(delivery.message_id)] += 1
        held[delivery.kind].append(settle)

    broker = RabbitBroker(own_rabbitmq.url, Topology(prefix=f"test-{uuid4().hex[:8]}."), readiness=readiness)
    broker.declare()
    thread = threading.Thread(target=broker.consume, args=(deliver, stop), daemon=True)
    with own_rabbitmq.consumer_timeout(2.0):
        thread.start()
        publish = partial(outbox.new_row, "phin.billing")
        broker.publish([publish("mapping.changed.v1", {"message_id": "m"}, b"{}")])
        [mapping] = wait_for(lambda: held["mapping.changed.v1"], "the mapping")
        pushes = 0
        while not mapping.lost.wait(0.3):
            broker.publish([publish("push.requested.v1", {"message_id": f"p-{pushes}"}, b"{}")])
            pushes += 1
            wait_for(lambda: len(held["push.requested.v1"]) == pushes, "a push")  # noqa: B023
            for settle in held["push.requested.v1"][-2:-1]:
                settle(Settlement.ACK)
        for settle in (mapping, held["push.requested.v1"][-1]):
            settle(Settlement.ACK)
        wait_for(lambda: counts["m"] == 2, "the mapping again")
        held["mapping.changed.v1"][-1](Settlement.ACK)
    stop.set()
    thread.join()
    assert counts == {"m": 2} | {f"p-{number}": 1 for number in range(pushes)}
    assert "broker" not in readiness.troubles
    broker.delete()
    broker.close()


def test_what_is_in_hand_is_bounded_in_bytes(amqp_url: str) -> None:
    """Nothing is settled: however large messages are, few are read, also while consuming begins and pauses."""
    in_hand: list[Settle] = []
    sizes: list[int] = []
    paused, stop = threading.Event(), threading.Event()

    def deliver(delivery: Delivery, settle: Settle) -> None:
        sizes.append(len(delivery.body))
        in_hand.append(settle)

    broker = RabbitBroker(amqp_url, Topology(prefix=f"test-{uuid4().hex[:8]}."))
    broker.declare()
    rows = [
        outbox.new_row("phin.billing", "push.requested.v1", {"message_id": f"m-{n}"}, bytes(SIZE)) for n in range(12)
    ]
    assert broker.publish(rows) == [None] * 12
    thread = threading.Thread(target=broker.consume, args=(deliver, stop, paused.is_set), daemon=True)
    thread.start()
    wait_for(lambda: sum(sizes) >= AT_ONCE_BYTES, "much to be in hand")
    paused.set()
    thread.join(0.5)
    assert sum(sizes) < AT_ONCE_BYTES + SIZE
    stop.set()
    wait_for(lambda: [in_hand.pop()(Settlement.ACK) for _ in in_hand[:]] or not thread.is_alive(), "the end")
    broker.delete()
    broker.close()

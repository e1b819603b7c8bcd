"""The ends of a delivery: waiting for the store is no failure of the message."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import cast

import pytest
from sqlalchemy import select

from messages import KeyRing, Message, PushCancelRequested, encode, generate_keypair
from store import Database, StoreBusy
from store.outbox import properties_of
from store.schema import dead_letters, in_hand
from tests.support.samples import PARTNER, minute
from worker.clock import Clock
from worker.handlers import HANDLERS
from worker.handlers.context import Context
from worker.health import Readiness
from worker.messaging import store_retry
from worker.messaging.broker import Delivery, Settlement
from worker.messaging.dead_letters import DeadLetters
from worker.messaging.dispatcher import TRIES, Dispatcher
from worker.messaging.store_outage import StoreOutage
from worker.messaging.store_retry import StoreRetry

EVENT = PushCancelRequested(
    partner_id=PARTNER, correlation_id="q", push_id="p-1", requested_at=minute(0), requested_by="ana"
)
WIRE = encode(EVENT)
REDELIVERED = Delivery(
    kind=EVENT.type,
    queue="connectwise.push-cancel-requested.v1",
    body=WIRE.body,
    properties=properties_of(WIRE),
    redelivered=True,
    delivery_count=1,
)


@pytest.fixture
def dispatcher(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    """A dispatcher that releases a message as soon as it meets a lock."""
    monkeypatch.setattr(store_retry, "HELD_SECONDS", 0.0)
    monkeypatch.setattr(store_retry, "PAUSE_FIRST", 0.0)
    stop, readiness = Event(), Readiness()
    retry = StoreRetry(stop, StoreOutage(lambda: None, stop, readiness), readiness)
    letters = DeadLetters(KeyRing.parse(generate_keypair().private))
    yield Dispatcher(Context(database), letters, stop, retry, Clock(), lambda *_: None)
    stop.set()


def test_a_wait_for_a_lock_is_not_a_try(
    dispatcher: Dispatcher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is locked for long, and connections or workers end meanwhile: then the message is handled."""
    handlers = cast("dict[type[Message], Callable[..., int | None]]", HANDLERS)
    kind: type[Message] = PushCancelRequested
    handler = handlers[kind]

    def locked(*_: object) -> int | None:
        raise StoreBusy("canceling statement due to lock timeout")

    monkeypatch.setitem(handlers, kind, locked)
    for count in range(1, TRIES + 3):
        assert dispatcher.handle([replace(REDELIVERED, delivery_count=count)]) == [Settlement.RELEASE]
    monkeypatch.setitem(handlers, kind, handler)
    assert dispatcher.handle([replace(REDELIVERED, delivery_count=TRIES + 3)]) == [Settlement.ACK]
    with database.begin() as tx:
        assert tx.execute(select(dead_letters.c.reason)).scalars().all() == []
        assert tx.execute(select(in_hand.c.tries)).scalars().all() == []

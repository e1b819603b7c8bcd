"""The embedded broker when its store is away for a moment, or the process was frozen."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import func, select

from store import Database, StoreBusy, outbox
from store.schema import outbox as outbox_table
from tests.support.samples import mapping_changed
from tests.support.waiting import wait_for
from tests.support.watched import watched
from worker.messaging import outbox_consumer
from worker.messaging.broker import Delivery, Settlement
from worker.messaging.embedded import EmbeddedBroker
from worker.topology import Topology

Settle = Callable[[Settlement], None]


@contextmanager
def _consuming(database: Database, deliver: Callable[[Delivery, Settle], None]) -> Iterator[threading.Event]:
    with database.begin() as tx:
        outbox.put(tx, mapping_changed())
    stop = threading.Event()
    broker = EmbeddedBroker(database, Topology(), lambda row: row)
    thread = threading.Thread(target=broker.consume, args=(deliver, stop))
    with watched(database):
        thread.start()
        yield stop
        stop.set()
    thread.join()


def _left(database: Database) -> int:
    with database.begin() as tx:
        return tx.execute(select(func.count()).select_from(outbox_table)).scalar_one()


def test_a_verdict_survives_a_store_that_is_away(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses to take a verdict once: it is stored at the next try, nothing hangs or comes twice."""
    database = Database(sqlite_url)
    got: list[Delivery] = []
    begin, away = database.begin, threading.Event()

    def begin_unless_away() -> object:
        if away.is_set():
            away.clear()
            raise StoreBusy("database is locked")
        return begin()

    def deliver(delivery: Delivery, settle: Settle) -> None:
        got.append(delivery)
        settle(Settlement.ACK)
        away.set()

    monkeypatch.setattr(database, "begin", begin_unless_away)
    with _consuming(database, deliver):
        wait_for(lambda: got and not away.is_set() and _left(database) == 0, "the row to be deleted")
    assert len(got) == 1
    database.close()


def test_a_row_in_hand_is_not_delivered_again_to_the_same_process(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a freeze longer than its claim the process finds its own row free: it goes on with the one in hand."""
    monkeypatch.setattr(outbox_consumer, "CLAIM_SECONDS", 0.1)
    monkeypatch.setattr(outbox_consumer, "EXTEND_SECONDS", 60.0)
    database = Database(sqlite_url)
    held: list[Settle] = []
    claims: list[int] = []
    claim = outbox.claim

    def counted(*args: Any, **kwargs: Any) -> object:
        claimed = claim(*args, **kwargs)
        claims.extend(claimed.ids)
        return claimed

    monkeypatch.setattr(outbox, "claim", counted)
    with _consuming(database, lambda _, settle: held.append(settle)):
        wait_for(lambda: len(claims) >= 3, "the row to be claimed again")
        assert len(held) == 1
        held[0](Settlement.ACK)
        wait_for(lambda: _left(database) == 0, "the row to be deleted")
    database.close()

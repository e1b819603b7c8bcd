"""A worker sleeps while nothing is due, and wakes for whatever becomes due: in any process, by time, after outages."""

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from typing import get_args
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from store import Database, StoreUnavailable, Tx, due_watch, leases, now, outbox
from store.outbox import OutboxRow, new_row
from store.schema import EXCHANGE_DEFERRED
from store.wakeups import Kind
from tests.support.databases import migrate_to_newest
from tests.support.own_servers import OwnPostgresql
from tests.support.samples import PARTNER
from tests.support.waiting import wait_for, within
from tests.support.watched import watched


def _row(exchange: str = "x") -> OutboxRow:
    return new_row(exchange, "key", {"message_id": "m1"}, b"{}")


def _wake(tx: Tx) -> None:
    leases.wake(tx, PARTNER)


def _send(tx: Tx) -> None:
    outbox.put_rows(tx, [_row()])


def _defer(tx: Tx) -> None:
    outbox.defer(tx, [(_row(EXCHANGE_DEFERRED), 0.0)])


WORK: dict[Kind, Callable[[Tx], None]] = {"partners": _wake, "outbox": _send, "deferred": _defer}


def _has_rung(database: Database, kind: Kind) -> bool:
    return database.wakeups.wait(kind, 0.0)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_commit_of_this_process_wakes_at_once(database: Database, kind: Kind) -> None:
    """A click waits for no poll: the commit itself wakes the loop of its kind, and no other."""
    with database.partner(PARTNER) as tx:
        WORK[kind](tx)
        assert not _has_rung(database, kind)
    assert [each for each in get_args(Kind) if _has_rung(database, each)] == [kind]


def test_a_rollback_wakes_nobody(database: Database) -> None:
    """A transaction that was rolled back leaves no work, also not for the next one on that connection."""
    with suppress(ZeroDivisionError), database.partner(PARTNER) as tx:
        _wake(tx)
        raise ZeroDivisionError
    with database.begin() as tx:
        now(tx)
    assert not _has_rung(database, "partners")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_commit_of_another_process_is_found(database: Database, database_url: str, kind: Kind) -> None:
    """The commit of a command or another worker is taken up, though nothing rings here."""
    with watched(database), closing(Database(database_url)) as other:
        with other.partner(PARTNER) as tx:
            WORK[kind](tx)
        assert database.wakeups.wait(kind, within(10.0))
        assert not any(_has_rung(database, each) for each in get_args(Kind) if each != kind)


def test_sqlite_tells_of_a_commit_at_once(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit of a command beside an embedded worker does not wait until the worker asks again."""
    monkeypatch.setattr(due_watch, "ASK_SECONDS", 3600.0)
    with closing(Database(sqlite_url)) as database, watched(database), closing(Database(sqlite_url)) as other:
        with other.begin() as tx:
            _send(tx)
        assert database.wakeups.wait("outbox", within(10.0))


def test_sqlite_is_asked_at_once_what_was_committed_before(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that begins, or that connects anew, does not wait for a commit to find what is due."""
    monkeypatch.setattr(due_watch, "ASK_SECONDS", 3600.0)
    with closing(Database(sqlite_url)) as database, closing(Database(sqlite_url)) as other:
        with other.begin() as tx:
            _send(tx)
        with watched(database):
            assert database.wakeups.wait("outbox", within(10.0))


def test_work_is_due_by_time_alone(database: Database) -> None:
    """A message for later is not looked for before its time, and is then found without any commit."""
    with due_watch.asking(database) as question:
        with database.begin() as tx:
            outbox.put_rows(tx, [_row()], not_before=now(tx) + timedelta(hours=1))
        assert question.kinds_due() == []
        with database.begin() as tx:
            outbox.put_rows(tx, [_row()], not_before=now(tx) + timedelta(seconds=0.2))
        wait_for(lambda: question.kinds_due() == ["outbox"], "the message to be due")


def test_work_in_hand_is_not_due(database: Database) -> None:
    """A partner with a holder and a claimed message wake nobody, until the holder has vanished."""
    with database.partner(PARTNER) as tx:
        _wake(tx)
        _send(tx)
    with database.begin() as tx:
        leases.claim(tx, 1)
        claimed = outbox.claim(tx, 1, 3600.0)
    with due_watch.asking(database) as question:
        assert question.kinds_due() == []
        with database.begin() as tx:
            outbox.extend(tx, claimed, 0.2)
        wait_for(lambda: question.kinds_due() == ["outbox"], "the claim to end")


def test_a_cut_connection_loses_no_work(postgresql_url: str) -> None:
    """The server ends all connections, as at a restart: all loops look at once, and later work is found again."""
    with closing(Database(postgresql_url)) as database, closing(Database(postgresql_url)) as other, watched(database):
        wait_for(lambda: _connections(other) >= 2, "the watch's connection")
        with other.begin() as tx:
            tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )
            )
        for kind in get_args(Kind):
            assert database.wakeups.wait(kind, within(10.0))
        with other.partner(PARTNER) as tx:
            _wake(tx)
        assert database.wakeups.wait("partners", within(10.0))
        assert not _has_rung(database, "deferred")


def _connections(database: Database) -> int:
    with database.begin() as tx:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(tx.execute(query).scalar_one())


def test_a_server_that_takes_no_writes_any_more_is_left(own_postgresql: OwnPostgresql) -> None:
    """After a switch-over the old server answers every question, by what was due then: another one is to be asked."""
    url = urlsplit(own_postgresql.url)._replace(path="/watched").geturl()
    own_postgresql.ask("CREATE DATABASE watched")
    migrate_to_newest(url)
    with closing(Database(url)) as database, due_watch.asking(database) as question:
        assert question.kinds_due() == []
        own_postgresql.read_only(on=True)
        try:

            def is_left() -> bool:
                with suppress(StoreUnavailable):
                    return bool(question.kinds_due())
                return True

            wait_for(is_left, "the server to be left")
        finally:
            own_postgresql.read_only(on=False)

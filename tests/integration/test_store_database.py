"""The database's door: times, its clock, turns within a partner, and errors by their remedy."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError

from store import Database, StoreConflict, StoreUnavailable, connections, now
from store.database import db_now
from store.schema import connections as table
from tests.support.samples import PARTNER, TEN, connection
from tests.support.waiting import together

TOKYO = timezone(timedelta(hours=9))
TIMES = [
    TEN,
    TEN + timedelta(microseconds=1),
    TEN + timedelta(microseconds=999_999),
    TEN + timedelta(seconds=1),
    (TEN + timedelta(hours=1)).astimezone(TOKYO),
    TEN.replace(year=9999),
]


def test_times_come_back_to_the_microsecond_and_sort(database: Database) -> None:
    """The newest of two versions is the newest, however close they are and wherever they were written."""
    with database.begin() as tx:
        for number, at in enumerate(reversed(TIMES)):
            connections.save(tx, connection(changed_at=at, message_id=f"m-{number}"))
        stored = tx.execute(select(table.c.changed_at).order_by(table.c.changed_at)).scalars().all()
    assert stored == TIMES
    assert all(at.utcoffset() == timedelta(0) for at in stored)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    """A time that could mean two moments is stored as neither."""
    with pytest.raises(StatementError, match="without a zone"), database.begin() as tx:
        connections.save(tx, connection(changed_at=datetime(2025, 11, 22, 10)))  # noqa: DTZ001 - the point of the test


def test_the_clock_is_the_databases_and_goes_on(database: Database) -> None:
    """Leases and delays of all workers go by one clock, which a stored time can be compared with."""
    with database.begin() as tx:
        at, later = now(tx), tx.execute(select(db_now(15.0))).scalar_one()
        assert timedelta(seconds=15) <= later - at < timedelta(seconds=20)
        connections.save(tx, connection(changed_at=at))
        query = select(table.c.changed_at <= db_now(), table.c.changed_at > db_now(-15.0))
        assert tx.execute(query).one() == (True, True)


def test_a_partners_transactions_take_turns(database: Database) -> None:
    """Two workers that change one partner at once do it one after the other."""
    inside, most = 0, []

    def change() -> None:
        nonlocal inside
        with database.partner(PARTNER) as tx:
            inside += 1
            now(tx)
            most.append(inside)
            inside -= 1

    together(*[change] * 8)
    assert most == [1] * 8


@pytest.mark.parametrize("backend", ["postgresql"])
def test_partners_do_not_wait_for_each_other(database: Database) -> None:
    """A long transaction of one partner holds up no other."""
    with database.partner("msp-1"), database.partner("msp-2") as tx:
        now(tx)


def test_what_fails_is_undone(database: Database) -> None:
    """Half a transaction is never kept."""

    def fail_half_way() -> None:
        with database.begin() as tx:
            connections.save(tx, connection())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with database.begin() as tx:
        assert connections.current(tx, PARTNER) is None


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_is_silent_is_unavailable(silent_port: int) -> None:
    """A network that swallows packets is waited for, like a server that is down."""
    url = f"postgresql://worker:hunter2@127.0.0.1:{silent_port}/phin"
    with closing(Database(url)) as database, pytest.raises(StoreUnavailable) as caught:
        _ask(database)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_down_is_unavailable() -> None:
    """A worker that meets this pauses and does the same again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with closing(Database(f"postgresql://worker@127.0.0.1:{port}/phin")) as database, pytest.raises(StoreUnavailable):
        _ask(database)


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A disk that is not mounted is waited for."""
    with closing(Database(f"sqlite:///{tmp_path}/missing/store.db")) as database, pytest.raises(StoreUnavailable):
        _ask(database)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_connection_cut_in_the_middle_is_unavailable_and_the_next_works(database: Database) -> None:
    """A restart of PostgreSQL costs the transaction that was open, and nothing else."""

    def be_cut_off() -> None:
        with database.begin() as tx, database.begin() as other:
            pid = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            now(tx)

    with pytest.raises(StoreUnavailable):
        be_cut_off()
    _ask(database)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_deadlock_is_a_conflict_to_be_repeated(database: Database) -> None:
    """Two transactions that wait for each other end: one goes on, the other is told to do the same again."""
    both = threading.Barrier(2)
    lock = text("SELECT pg_advisory_xact_lock(:key)")

    def lock_both(first: int, second: int) -> str:
        try:
            with database.begin() as tx:
                tx.execute(lock, {"key": first})
                both.wait()
                tx.execute(lock, {"key": second})
        except StoreConflict:
            return "conflict"
        return "done"

    assert sorted(together(lambda: lock_both(1, 2), lambda: lock_both(2, 1))) == ["conflict", "done"]


@pytest.mark.parametrize("url", ["mysql://worker:hunter2@host/phin", "sqlite://", "sqlite:///:memory:", "phin:hunter2"])
def test_a_url_of_another_kind_is_refused_without_its_password(url: str) -> None:
    """A slip in the settings is told at once, and not what it was."""
    with pytest.raises(ValueError, match="sqlite:///file or postgresql://") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)


def _ask(database: Database) -> None:
    with database.begin() as tx:
        now(tx)


def test_a_busy_writer_of_sqlite_does_not_shut_others_out(tmp_path: Path) -> None:
    """A page or a command gets its turn beside a worker that writes nearly all the time."""
    url, turns = f"sqlite:///{tmp_path / 'store.db'}", count()
    writes, stop = threading.Event(), threading.Event()
    # Two of them are like two processes, as each lets only its own transactions take turns.
    with closing(Database(url)) as worker, closing(Database(url)) as page:

        def write_on_and_on() -> None:
            while not stop.is_set():
                with worker.begin():
                    next(turns)
                    writes.set()
                    stop.wait(0.35)
                    writes.clear()
                stop.wait(0.015)

        thread = threading.Thread(target=write_on_and_on)
        thread.start()
        try:
            for _ in range(4):
                writes.wait()
                with page.begin():
                    pass
        finally:
            stop.set()
            thread.join()
    assert next(turns) <= 6, "so many turns of the worker for four of the page"

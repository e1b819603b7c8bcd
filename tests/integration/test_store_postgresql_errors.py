"""PostgreSQL's errors by remedy: each is one that a real server gives."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from store import Database, StoreBusy, StoreConflict, StoreUnavailable
from store import database as door
from tests.support.databases import Postgresql
from tests.support.waiting import wait_for

Remedy = type[Exception]

STATES: dict[str, Remedy] = {
    "08006": StoreUnavailable,  # connection_failure
    "08P01": StoreUnavailable,  # protocol_violation: a pooler that has no server
    "25006": StoreUnavailable,  # read_only_sql_transaction
    "25P03": StoreUnavailable,  # idle_in_transaction_session_timeout
    "25P04": StoreUnavailable,  # transaction_timeout
    "28P01": StoreUnavailable,  # invalid_password
    "3D000": StoreUnavailable,  # invalid_catalog_name
    "40001": StoreConflict,  # serialization_failure
    "40P01": StoreConflict,  # deadlock_detected
    "3F000": StoreBusy,  # invalid_schema_name
    "42501": StoreBusy,  # insufficient_privilege
    "42P01": StoreBusy,  # undefined_table
    "53100": StoreUnavailable,  # disk_full
    "53200": StoreUnavailable,  # out_of_memory
    "53300": StoreUnavailable,  # too_many_connections
    "55006": StoreBusy,  # object_in_use
    "55P03": StoreBusy,  # lock_not_available
    "57014": StoreBusy,  # query_canceled
    "57P01": StoreUnavailable,  # admin_shutdown
    "57P02": StoreUnavailable,  # crash_shutdown
    "57P03": StoreUnavailable,  # cannot_connect_now
    "57P04": StoreUnavailable,  # database_dropped
    "57P05": StoreUnavailable,  # idle_session_timeout
    "58030": StoreUnavailable,  # io_error
    "58P01": StoreUnavailable,  # undefined_file
    # Bugs of ours, and faults of what one statement touches.
    "22P02": DBAPIError,  # invalid_text_representation
    "23505": DBAPIError,  # unique_violation
    "25P02": DBAPIError,  # in_failed_sql_transaction
    "42703": DBAPIError,  # undefined_column
    "54000": DBAPIError,  # program_limit_exceeded
    "55000": DBAPIError,  # object_not_in_prerequisite_state
    "XX000": DBAPIError,  # internal_error
    "XX001": DBAPIError,  # data_corrupted
}


@pytest.fixture(scope="module")
def database(postgresql: Postgresql) -> Iterator[Database]:
    """The store on a database that all tests here share: none of them leaves anything behind that another minds."""
    with postgresql.database() as url, closing(Database(url)) as database:
        yield database


def _run(database: Database, *statements: str) -> None:
    """One transaction."""
    with database.begin() as tx:
        for statement in statements:
            tx.exec_driver_sql(statement)


def _raise(database: Database, state: str) -> None:
    _run(database, f"DO $$ BEGIN RAISE 'on request' USING ERRCODE = '{state}'; END $$")


def _pids(database: Database) -> set[int]:
    """The server's processes behind three connections of the pool."""
    with database.begin() as one, database.begin() as two, database.begin() as three:
        return {tx.execute(text("SELECT pg_backend_pid()")).scalar_one() for tx in (one, two, three)}


@pytest.mark.parametrize(("state", "remedy"), STATES.items(), ids=STATES)
def test_a_state_has_its_remedy(database: Database, state: str, remedy: Remedy) -> None:
    """The worker does the one thing that helps against each answer of the server.

    Where that is another server, or this one later, no connection to this one is used again; else all are kept.
    """
    before = _pids(database)
    with pytest.raises(remedy) as caught:
        _raise(database, state)
    assert "on request" in str(caught.value)
    after = _pids(database)
    if remedy is StoreUnavailable:
        assert not after & before
    else:
        assert after == before


def test_a_read_only_server_is_left(database: Database) -> None:
    """After a switch-over the old server answers every question and takes nothing: its connections are not kept."""
    before = _pids(database)
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        _run(database, "SET TRANSACTION READ ONLY", "CREATE TABLE anything (id int)")
    assert not _pids(database) & before


def test_a_connection_in_use_elsewhere_survives_the_drop(database: Database) -> None:
    """A transaction that goes well is not cut off because another one met a server that is not to be used."""
    with database.begin() as working:
        with pytest.raises(StoreUnavailable):
            _raise(database, "25006")
        assert working.execute(text("SELECT 1")).scalar_one() == 1


def test_a_lock_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that a migration has locked makes the worker wait, and its connection stays good."""
    monkeypatch.setattr(door, "LOCK_TIMEOUT", "20ms")
    with closing(Database(_url(database))) as waiting, database.begin() as tx:
        tx.execute(text("LOCK TABLE pg_description IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StoreBusy, match="lock timeout"), waiting.begin() as other:
            other.execute(text("SELECT count(*) FROM pg_description"))


def test_a_cancelled_statement_is_waited_for(database: Database) -> None:
    """A statement that an operator or a statement_timeout cancels is done again."""
    with pytest.raises(StoreBusy, match="statement timeout"):
        _run(database, "SET LOCAL statement_timeout = 20", "SELECT pg_sleep(60)")


def test_a_pool_in_use_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than connections: who gets none waits, and nothing has failed."""
    monkeypatch.setattr(door, "POOL_TIMEOUT", 0.02)
    with closing(Database(_url(database), connections=1)) as small, small.begin():  # noqa: SIM117 - one after the other
        with pytest.raises(StoreBusy, match="all connections"), small.begin():
            pass


def test_a_session_frozen_in_a_transaction_is_begun_anew(database: Database) -> None:
    """A process that was stopped for a minute inside a transaction finds it ended, and does it again."""

    def freeze() -> None:
        with database.begin() as tx:
            tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))
            pid = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
            wait_for(lambda: not _is_alive(database, pid), "the server to end the session")
            tx.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        freeze()
    assert _pids(database)


def test_a_conflict_that_shows_at_the_commit_is_repeated(database: Database) -> None:
    """Two serializable transactions that cannot both be: the second one to commit is done again."""
    _run(database, "CREATE TABLE numbers (number int)")
    serializable, count = (
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "INSERT INTO numbers SELECT count(*) FROM numbers",
    )

    def both() -> None:
        with database.begin() as tx:
            tx.execute(text(serializable))
            tx.execute(text(count))
            _run(database, serializable, count)

    with pytest.raises(StoreConflict):
        both()


def test_what_a_commit_says_has_its_remedy(database: Database) -> None:
    """A trigger that is put off to the end fails the commit as it would fail its statement."""
    _run(
        database,
        "CREATE TABLE refused (number int)",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'disk full' USING ERRCODE = '53100'; END $$",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON refused"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    with pytest.raises(StoreUnavailable, match="disk full"):
        _run(database, "INSERT INTO refused VALUES (1)")


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role of the test's own that may log in."""
    name = f"test_{uuid4().hex[:12]}"
    _run(database, f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
    yield name
    _run(database, f"DROP ROLE {name}")


def test_a_server_with_all_connections_taken_is_waited_for(database: Database, role: str) -> None:
    """A limit of connections is reached: until one is free."""
    _run(database, f"ALTER ROLE {role} CONNECTION LIMIT 0")
    assert "too many connections" in _refusal(_url(database, user=f"{role}:right"))


def test_a_role_that_is_not_there_yet_is_waited_for(database: Database) -> None:
    """A role or password is rotated: until the server knows it."""
    said = _refusal(_url(database, user=f"test_{uuid4().hex[:12]}:hunter2"))
    # A server that asks for passwords does not tell which roles it has.
    assert "does not exist" in said or "password authentication failed" in said


def test_a_database_that_is_not_there_yet_is_waited_for(database: Database) -> None:
    """The worker is started before somebody has made the database."""
    parts = urlsplit(_url(database))
    assert "does not exist" in _refusal(parts._replace(path="/missing").geturl())


def test_a_server_that_takes_no_writes_is_not_connected_to(database: Database, role: str) -> None:
    """A worker that read from a standby would decide by what was true a moment ago."""
    _run(database, f"ALTER ROLE {role} SET default_transaction_read_only = on")
    assert "session is read-only" in _refusal(_url(database, user=f"{role}:right"))


def _refusal(url: str) -> str:
    with closing(Database(url)) as refused, pytest.raises(StoreUnavailable) as caught, refused.begin():
        pass
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def _url(database: Database, user: str = "") -> str:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl() if user else url


def _is_alive(database: Database, pid: int) -> bool:
    with database.begin() as tx:
        return bool(tx.execute(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}).scalar())


def test_a_servers_own_isolation_level_does_not_count(postgresql: Postgresql) -> None:
    """A server that isolates transactions more has none of them fail for it, nor statements without one."""
    with postgresql.database() as url:
        with closing(Database(url)) as database, database.begin() as tx:
            name = tx.execute(text("SELECT current_database()")).scalar_one()
            tx.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable"))
        with closing(Database(url)) as database:
            for autocommit in (False, True):
                with database.begin(autocommit=autocommit) as tx:
                    assert tx.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"

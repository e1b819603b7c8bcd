"""SQLite's errors by remedy: each is one that it gives."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from store import Database, StoreBusy, StoreUnavailable
from store import database as door


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of the database."""
    return tmp_path / "store.db"


@pytest.fixture
def database(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A store with one table, of many rows."""
    monkeypatch.setattr(door, "SQLITE_BUSY_TIMEOUT", 0.02)
    with closing(Database(f"sqlite:///{file}")) as database:
        _run(database, "CREATE TABLE numbers (number int)")
        _run(
            database,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)"
            " INSERT INTO numbers SELECT i FROM n",
        )
        yield database


def _run(database: Database, *statements: str) -> None:
    """One transaction."""
    with database.begin() as tx:
        for statement in statements:
            tx.exec_driver_sql(statement)


def _name_of(caught: pytest.ExceptionInfo[Exception]) -> str:
    """SQLite's own name of the error."""
    error = caught.value if isinstance(caught.value, DBAPIError) else caught.value.__cause__
    assert isinstance(error, DBAPIError)
    return str(getattr(error.orig, "sqlite_errorname", None))


def test_another_writer_is_waited_for(database: Database, file: Path) -> None:
    """A command that writes for long makes the worker wait, and nothing has failed."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as caught:
            _run(database, "DELETE FROM numbers")
        assert _name_of(caught) == "SQLITE_BUSY"
        other.execute("COMMIT")
    _run(database, "DELETE FROM numbers")


def test_a_table_that_our_own_transaction_holds_is_a_bug(database: Database) -> None:
    """Nobody else is in the way, so waiting mends nothing: it is told at once."""

    def drop_while_reading() -> None:
        with database.begin() as tx:
            numbers = tx.exec_driver_sql("SELECT number FROM numbers")
            numbers.fetchone()
            tx.exec_driver_sql("DROP TABLE numbers")

    with pytest.raises(DBAPIError) as caught:
        drop_while_reading()
    assert _name_of(caught) == "SQLITE_LOCKED"


def test_a_full_disk_is_waited_for(database: Database) -> None:
    """Until somebody makes room."""
    with pytest.raises(StoreUnavailable) as caught:
        _run(database, "PRAGMA max_page_count = 20", "INSERT INTO numbers SELECT randomblob(1000000)")
    assert _name_of(caught) == "SQLITE_FULL"
    _run(database, "DELETE FROM numbers")


def test_a_file_that_may_not_be_written_is_waited_for(database: Database) -> None:
    """A disk that was mounted read-only after an error: until it is mended."""
    with pytest.raises(StoreUnavailable) as caught:
        _run(database, "PRAGMA query_only = ON", "DELETE FROM numbers")
    assert _name_of(caught) == "SQLITE_READONLY"
    _run(database, "DELETE FROM numbers")


def test_a_disk_that_fails_is_waited_for(database: Database) -> None:
    """A write that the system refuses: until it takes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            _run(database, "DELETE FROM numbers")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _name_of(caught).startswith("SQLITE_IOERR")
    _run(database, "DELETE FROM numbers")


def test_a_damaged_file_is_waited_for(database: Database, file: Path) -> None:
    """Until somebody puts a good one in its place."""
    database.close()
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreUnavailable) as caught:
        _run(database, "DELETE FROM numbers")
    assert _name_of(caught) == "SQLITE_CORRUPT"
    file.write_bytes(content)
    _run(database, "DELETE FROM numbers")


def test_a_file_that_is_spoiled_while_it_is_open_is_waited_for(database: Database, file: Path) -> None:
    """The connection that had it open is dropped: the next one sees the good file that somebody puts in its place."""
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content, good = file.read_bytes(), file.with_suffix(".good")
    file.write_bytes(b"\xff" * len(content))
    with pytest.raises(StoreUnavailable) as caught:
        _run(database, "DELETE FROM numbers")
    assert _name_of(caught) == "SQLITE_NOTADB"
    good.write_bytes(content)
    good.replace(file)
    for left in (file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        left.unlink(missing_ok=True)
    _run(database, "DELETE FROM numbers")


def test_a_file_that_is_no_database_is_waited_for(tmp_path: Path) -> None:
    """It may be half copied."""
    (tmp_path / "store.db").write_bytes(b"nothing of SQLite" * 100)
    with closing(Database(f"sqlite:///{tmp_path}/store.db")) as database, pytest.raises(StoreUnavailable) as caught:
        _run(database)
    assert _name_of(caught) == "SQLITE_NOTADB"


def test_a_file_that_cannot_be_opened_is_waited_for(tmp_path: Path) -> None:
    """A disk that is not mounted yet."""
    url = f"sqlite:///{tmp_path}/missing/store.db"
    with closing(Database(url)) as database, pytest.raises(StoreUnavailable) as caught:
        _run(database)
    assert _name_of(caught) == "SQLITE_CANTOPEN"


@pytest.mark.parametrize("statement", ["SELECT * FROM missing", "INSERT INTO numbers SELECT randomblob(2000000000)"])
def test_a_bug_of_ours_passes_unchanged(database: Database, statement: str) -> None:
    """An error that no waiting mends is told, not waited for."""
    with pytest.raises(DBAPIError):
        _run(database, statement)

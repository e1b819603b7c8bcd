"""Access to the database: connections, transactions, and the database's clock."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, cast

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    ScalarSelect,
    Table,
    bindparam,
    create_engine,
    event,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from store.database_errors import ANOTHER_ANSWERS, StoreBusy, StoreUnavailable, remedy_of
from store.database_url import check_url, name_of
from store.schema import UtcTime, leases
from store.wakeups import Kind, Wakeups

Tx = Connection
"""A transaction, as `Database.begin` gives it."""

# With those for its heartbeat, for due work and for the probes of its status server: at most eleven a process.
POOL_SIZE = 8
POOL_TIMEOUT = 60.0
LARGE = 1024 * 1024
AT_ONCE_BYTES = 16 * 1024 * 1024
"""A process holds messages of at most this many bytes at a time, or a single larger one."""
# One try waits this long for a lock; then it is repeated, and the wait is reported.
LOCK_TIMEOUT = "10s"
SQLITE_BUSY_TIMEOUT = 30.0
SQLITE_TRY_MS = 20
# Of SQLite's extended result codes: the low byte says what kind it is.
PRIMARY_CODE = 0xFF
# A worker that vanishes inside a transaction must not lock its partner for hours.
OPTIONS = (
    # A statement without a transaction would have the server's own level.
    r"-c default_transaction_isolation=read\ committed"
    " -c timezone=UTC -c idle_in_transaction_session_timeout=60s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, plus seconds: leases and delays of all workers go by this one clock."""

    type = UtcTime()
    inherit_cache = True

    def __init__(self, plus_seconds: float | ColumnElement[float] = 0.0) -> None:
        is_number = isinstance(plus_seconds, int | float)
        super().__init__(literal(float(plus_seconds)) if is_number else type_coerce(plus_seconds, Float))


@compiles(db_now, "postgresql")
def _now_postgresql(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(db_now, "sqlite")
def _now_sqlite(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"


def now(tx: Tx) -> datetime:
    """Read the database's clock."""
    return tx.execute(_NOW).scalar_one()


_NOW = select(db_now())


def now_once() -> ScalarSelect[datetime]:
    """The database's clock in a condition, read once for all rows, so that an index answers it."""
    return select(db_now()).scalar_subquery()


def moment(at: datetime | timedelta) -> datetime | db_now:
    """A time to compare a column with: as given, or so long ago by the database's clock."""
    return db_now(-at.total_seconds()) if isinstance(at, timedelta) else at


def after_commit(tx: Tx, call: Callable[[], object]) -> None:
    """Call this once the transaction is committed; it must not raise. For logs and metrics of what has happened."""
    tx.info["after_commit"].append(call)


def upsert(tx: Tx, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that supports ON CONFLICT, in the dialect of this transaction."""
    return insert_of(tx.dialect.name, table)


def insert_of(dialect: str, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that supports ON CONFLICT, in this dialect."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def detach_if_large(tx: Tx, size: int) -> None:
    """Close the connection after its transaction if it carried `size` bytes at once and that is more than LARGE.

    libpq's buffers grow to the largest message and never shrink; eleven connections would keep them for good.
    """
    if size > LARGE and tx.dialect.name == "postgresql":
        tx.detach()


class Database:
    """The store's engine. `url` is `postgresql://…` or `sqlite:///…`. A caller waits while all connections are in use.

    Raises ValueError for a URL of another kind.
    """

    def __init__(self, url: str, connections: int = POOL_SIZE) -> None:
        self.engine = _create_engine(url, connections)
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._autocommit = self.engine if is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.name = name_of(self.engine.url)
        self.wakeups = Wakeups()
        self._turn = Lock()

    @property
    def is_missing(self) -> bool:
        """True if it is a SQLite file that is not there: connecting would make an empty one."""
        return self.engine.dialect.name == "sqlite" and not Path(self.name).exists()

    @contextmanager
    def begin(self, *, autocommit: bool = False) -> Iterator[Tx]:
        """One transaction: committed at the end, rolled back on an error. A commit wakes whom `wake_after` has noted.

        `autocommit`: in PostgreSQL each statement is a transaction of its own. That spares two round trips where there
        is one statement, or only reads, each of which sees what is committed by then anyway.
        Raises StoreUnavailable, StoreBusy or StoreConflict (see `database_errors`); other errors pass unchanged.
        """
        with _translated(), self._own_turn(), (self._autocommit if autocommit else self.engine).begin() as tx:
            # Their own: the connection may carry the next transaction before this one has rung.
            kinds, calls = set[Kind](), list[Callable[[], object]]()
            tx.info["wakeups"], tx.info["after_commit"] = kinds, calls
            yield tx
        self.wakeups.ring(*kinds)
        for call in calls:
            call()

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """Let one transaction of this process at a time go to SQLite, which has others sleep up to 100 ms."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=SQLITE_BUSY_TIMEOUT):
            raise StoreBusy("the database is locked by another transaction of this process")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def partner(self, partner_id: str) -> Iterator[Tx]:
        """One transaction that locks the partner: whatever changes a partner's state does so in one of these.

        The lock is the partner's lease row, so nothing can deadlock within a partner, and no wake-up is lost between a
        holder's last look for due work and the release of its lease.
        """
        with self.begin() as tx:
            if tx.execute(_LOCK_PARTNER, {"partner": partner_id}).first() is None:
                tx.execute(upsert(tx, leases).values(partner_id=partner_id).on_conflict_do_nothing())
                tx.execute(_LOCK_PARTNER, {"partner": partner_id})
            yield tx

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


_LOCK_PARTNER = select(leases.c.partner_id).where(leases.c.partner_id == bindparam("partner")).with_for_update()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy("all connections to the database are in use") from error
    except DBAPIError as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        raise remedy(_brief(error)) from error


def _drop_connections(context: ExceptionContext) -> None:
    """Drop all connections to a server that is unavailable, also healthy ones.

    SQLAlchemy closes this connection at once, and the others when they are next taken from the pool.
    """
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and remedy_of(error) is StoreUnavailable:
        context.is_disconnect = True


def _brief(error: DBAPIError) -> str:
    cause = str(error.orig).strip()
    return cause.splitlines()[0][:300] if cause else type(error.orig).__name__


def _create_engine(url: str, connections: int) -> Engine:
    parsed = check_url(url)
    special: dict[str, Any] = {"connect_args": {"timeout": SQLITE_BUSY_TIMEOUT}}
    if parsed.get_backend_name() == "postgresql":
        special = {"connect_args": _postgresql_arguments(parsed)}
    engine = create_engine(
        parsed,
        hide_parameters=True,  # the text of an error is logged, and must not hold what is stored
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        **special,
    )
    event.listen(engine, "handle_error", _drop_connections)
    if parsed.get_backend_name() == "postgresql":
        event.listen(engine, "connect", _postgresql_connect)
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        event.listen(engine, "invalidate", _sqlite_invalidate)
    return engine


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    return {
        "connect_timeout": 5,
        "options": f"{OPTIONS} -c lock_timeout={LOCK_TIMEOUT}",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives do not cover data sent to a machine that has vanished; the system gives up after 15 minutes.
        "tcp_user_timeout": 25_000,
        # Every transaction here may write, so of several hosts the first one that takes writes is used.
        "target_session_attrs": url.query.get("target_session_attrs", "read-write"),
    }


def _postgresql_connect(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - psycopg's connection
    """Raise the driver's error if the process that the connection began with is not the one that answers."""
    (answers,) = dbapi_connection.execute("SELECT pg_backend_pid()").fetchone()
    dbapi_connection.rollback()
    if answers != dbapi_connection.info.backend_pid:
        dbapi_connection.close()
        raise dbapi_connection.OperationalError(ANOTHER_ANSWERS)


def _sqlite_connect(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3's connection
    dbapi_connection.isolation_level = None  # the driver starts no transaction of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(tx: Tx) -> None:
    # A deferred transaction that reads first fails at once with "database is locked" when another writes. While another
    # process does, SQLite sleeps up to 100 ms between two looks at the lock; within a short try it is 10 ms at most.
    driver, until = cast("sqlite3.Connection", tx.connection.dbapi_connection), monotonic() + SQLITE_BUSY_TIMEOUT
    while monotonic() < until:
        try:
            driver.execute(f"PRAGMA busy_timeout={SQLITE_TRY_MS}")
            driver.execute("BEGIN IMMEDIATE")
            driver.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT * 1000:.0f}")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                break
        else:
            return
    tx.exec_driver_sql("BEGIN IMMEDIATE")  # so that SQLAlchemy makes its own error of it


def _sqlite_invalidate(dbapi_connection: Any, _record: object, _error: object) -> None:  # noqa: ANN401 - sqlite3's connection
    # A connection that the handled error still refers to would keep its lock until that error is gone.
    with suppress(sqlite3.Error):
        dbapi_connection.rollback()

"""One door to the database: connections, transactions, the database's clock, and errors by remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, literal, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from store.schema import UtcTime, leases

Tx = Connection
"""A transaction, as `Database.begin` gives it."""

SQLITE_TROUBLE = (
    "unable to open database file",
    "file is not a database",
    "disk image is malformed",
    "disk I/O error",
    "disk is full",
    "readonly database",
)
USE = "use sqlite:///file or postgresql://user:password@host/database"
POOL_SIZE = 10
LARGE = 1024 * 1024
# A worker that vanishes inside a transaction must not hold its partner for hours.
OPTIONS = (
    "-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
_SQLSTATES_TO_REPEAT = ("40001", "40P01", "55P03", "57014")


class StoreError(Exception):
    """The database did not do what was asked."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or went away: pause, then do the same again."""


class StoreConflict(StoreError):
    """Two transactions met (deadlock, lock timeout): the same transaction will succeed if repeated."""


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, plus seconds: leases and delays of all workers go by this one clock."""

    type = UtcTime()
    inherit_cache = True

    def __init__(self, plus_seconds: float = 0.0) -> None:
        super().__init__(literal(float(plus_seconds)))


@compiles(db_now, "postgresql")
def _now_postgresql(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(db_now, "sqlite")
def _now_sqlite(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's signature
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"


def now(tx: Tx) -> datetime:
    """Read the database's clock."""
    return tx.execute(select(db_now())).scalar_one()


def moment(at: datetime | timedelta) -> datetime | db_now:
    """What a column is compared with: a time, or the time so long ago by the database's clock."""
    return db_now(-at.total_seconds()) if isinstance(at, timedelta) else at


def upsert(tx: Tx, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that knows ON CONFLICT, in the dialect of this transaction."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def carried(tx: Tx, size: int) -> None:
    """So many bytes went over this connection at once: one that carried much is closed after its transaction.

    libpq's buffers grow to the largest message and never shrink; ten connections would keep them for good.
    """
    if size > LARGE and tx.dialect.name == "postgresql":
        tx.detach()


class Database:
    """The store's engine. `url` is `postgresql://…` or `sqlite:///…`; at most ten connections a process.

    Raises ValueError for a URL of another kind.
    """

    def __init__(self, url: str) -> None:
        self.engine = _create_engine(url)

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """One transaction: committed at the end, rolled back on an error.

        Raises StoreUnavailable or StoreConflict; other errors of the database are our own bugs and pass unchanged.
        """
        with _translated(), self.engine.begin() as tx:
            yield tx

    @contextmanager
    def partner(self, partner_id: str) -> Iterator[Tx]:
        """One transaction that owns the partner: all that changes a partner's state takes turns here.

        The lock is the partner's lease row, so nothing can deadlock within a partner and nothing can slip between
        the look and the release of a lease (no lost wake-up).
        """
        with self.begin() as tx:
            tx.execute(upsert(tx, leases).values(partner_id=partner_id).on_conflict_do_nothing())
            tx.execute(select(leases.c.partner_id).where(leases.c.partner_id == partner_id).with_for_update())
            yield tx

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreConflict("all connections to the database are in use") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state in _SQLSTATES_TO_REPEAT or "database is locked" in str(error.orig):
            raise StoreConflict(_brief(error)) from error
        if error.connection_invalidated or _is_unreachable(error):
            raise StoreUnavailable(_brief(error)) from error
        raise


def _is_unreachable(error: DBAPIError) -> bool:
    if type(error.orig).__module__.startswith("psycopg"):
        # psycopg gives no state when it cannot connect, in time or at all. 08: connection exception, 53: out of
        # resources or connections, 57P: the server stops or starts.
        state: str | None = getattr(error.orig, "sqlstate", None)
        if state is None:
            return isinstance(error, OperationalError)
        return state.startswith(("08", "25006", "53", "57P"))
    return any(text in str(error.orig) for text in SQLITE_TROUBLE)


def _brief(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", error)
    return str(cause).strip().splitlines()[0][:300] if str(cause).strip() else type(cause).__name__


def check_url(url: str) -> URL:
    """Raise ValueError, which never shows the URL, unless it names a database that can be used."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(USE) from None
    if parsed.drivername in {"postgresql", "postgresql+psycopg"} and parsed.host and parsed.database:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ValueError(USE)
    return parsed


def _create_engine(url: str) -> Engine:
    parsed = check_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed,
            hide_parameters=True,  # the text of an error is logged, and must not hold what is stored
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=60,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": 5,
                "options": OPTIONS,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            },
        )
    engine = create_engine(
        parsed,
        hide_parameters=True,
        connect_args={"timeout": 30.0},
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=60,
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3's connection
    dbapi_connection.isolation_level = None  # the driver starts no transaction of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(tx: Tx) -> None:
    # A deferred transaction that reads first fails at once with "database is locked" when another writes.
    tx.exec_driver_sql("BEGIN IMMEDIATE")

"""Database errors by their remedy: a table of PostgreSQL's SQLSTATEs, and one of SQLite's result codes.

An error without a remedy is a bug of ours, or the fault of one statement, and passes unchanged: the work is tried three
times, reported, and delays nothing else.
"""

from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError, OperationalError


class StoreError(Exception):
    """The database did not do what was requested."""


class StoreUnavailable(StoreError):
    """Not this server, or not now: its connections are dropped, and the work is repeated until it succeeds."""


class StorePooled(StoreUnavailable):
    """A pooler of connections answers instead of PostgreSQL: nothing works until the URL names the server itself."""

    def __init__(self, _cause: str = "") -> None:
        super().__init__(
            "DATABASE_URL leads to a pooler of connections, such as PgBouncer; name PostgreSQL itself, as the worker's"
            " sessions have settings and prepared statements of their own (each process has at most eleven)"
        )


class StoreBusy(StoreError):
    """The wait for a lock or a connection took too long, or a table is missing: repeated until it succeeds."""


class StoreConflict(StoreError):
    """Two transactions conflicted: this one succeeds if it is repeated."""


ANOTHER_ANSWERS = "another process answers than the one that the connection began with"
# What poolers do to a session's settings and prepared statements: they refuse the one, or lose both.
POOLED = ("unsupported startup parameter", ANOTHER_ANSWERS)

Remedy = type[StoreUnavailable] | type[StoreBusy] | type[StoreConflict] | None

# By the beginning of the SQLSTATE; the longest counts.
SQLSTATES: Mapping[str, Remedy] = {
    # The connection is lost or refused; poolers report the same of servers that they cannot reach.
    "08": StoreUnavailable,
    # A standby, or a server that was demoted or runs out of disk: another one takes writes, or this one later.
    "25006": StoreUnavailable,
    # The server has ended a session that was frozen inside its transaction (and 25P04, a transaction that took long).
    "25P03": StoreUnavailable,
    "25P04": StoreUnavailable,
    # A password was rotated, a role or database is missing: somebody is working on it, and other servers may be ready.
    "28": StoreUnavailable,
    "3D000": StoreUnavailable,
    # The server has undone one of two transactions. Nothing of it is left, so it can be repeated.
    "40": StoreConflict,
    # A right, a table or a schema is missing, while a backup is restored or a role is changed. The session is fine.
    "3F000": StoreBusy,
    "42501": StoreBusy,
    "42P01": StoreBusy,
    # Disk, memory or connections are used up: until somebody makes room, or another server takes over.
    "53": StoreUnavailable,
    # Another session uses or locks it for longer than one wait: a migration, VACUUM FULL.
    "55006": StoreBusy,
    "55P03": StoreBusy,
    # The server stops, starts, or has cut us off.
    "57": StoreUnavailable,
    # A statement was cancelled, by hand or by a timeout of the operator's: it waited, most likely. The session is fine.
    "57014": StoreBusy,
    # The server's disk fails or files of it are gone: a standby has its own.
    "58": StoreUnavailable,
    # XX (internal error, damaged page or index) is left out: it concerns the rows that the statement touched, so only
    # work on these may fail, into dead letters. So is 54 (a row too large): waiting mends neither.
    # 55000 is left out too: it comes from functions that nothing here calls.
}

# By the beginning of the name of the extended result code; the longest counts.
SQLITE_CODES: Mapping[str, Remedy] = {
    # Another process writes, or recovers the log; PROTOCOL: two processes collided again and again.
    "SQLITE_BUSY": StoreBusy,
    "SQLITE_PROTOCOL": StoreBusy,
    # Plain LOCKED is left out: our own connection blocks itself. This one is another connection with the same cache.
    "SQLITE_LOCKED_SHAREDCACHE": StoreBusy,
    # The disk is full, until somebody makes room.
    "SQLITE_FULL": StoreUnavailable,
    # A disk that is not mounted, fails or was mounted read-only, a file that was moved away.
    "SQLITE_CANTOPEN": StoreUnavailable,
    "SQLITE_IOERR": StoreUnavailable,
    "SQLITE_READONLY": StoreUnavailable,
    # Unlike a page of PostgreSQL, a damaged file is replaced as a whole, and only new connections see the new one.
    "SQLITE_CORRUPT": StoreUnavailable,
    "SQLITE_NOTADB": StoreUnavailable,
}


def remedy_of(error: DBAPIError) -> Remedy:
    """The error of ours that names the remedy; None = there is none, and the driver's error passes unchanged."""
    # Only while connecting: texts of other errors quote what was stored.
    refused = isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) in {None, "08P01"}
    if refused and any(text in str(error.orig).partition("\nDETAIL")[0] for text in POOLED):
        return StorePooled
    if error.connection_invalidated:
        # Whatever the server reported last.
        return StoreUnavailable
    if name := getattr(error.orig, "sqlite_errorname", None):
        return _by_beginning(SQLITE_CODES, name)
    if state := getattr(error.orig, "sqlstate", None):
        return _by_beginning(SQLSTATES, state)
    # psycopg gives no state where it could not connect, for whatever reason, or not in time.
    is_psycopg = hasattr(error.orig, "sqlstate")
    return StoreUnavailable if is_psycopg and isinstance(error, OperationalError) else None


def _by_beginning(table: Mapping[str, Remedy], code: str) -> Remedy:
    longest = max((key for key in table if code.startswith(key)), key=len, default=None)
    return None if longest is None else table[longest]

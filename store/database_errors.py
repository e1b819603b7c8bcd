"""Errors of the database by their remedy: one table of PostgreSQL's states, one of SQLite's result codes.

What has no remedy here is a bug of ours, or the fault of one statement, and passes unchanged: it is tried three times,
told, and holds up nobody else.
"""

from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError, OperationalError


class StoreError(Exception):
    """The database did not do what was asked."""


class StoreUnavailable(StoreError):
    """Not this server, or not now: its connections are dropped; the same is done again until it works."""


class StoreBusy(StoreError):
    """The database makes us wait, for a lock or a connection: the same is done again until it works."""


class StoreConflict(StoreError):
    """Two transactions met: the same transaction succeeds if it is repeated."""


Remedy = type[StoreUnavailable] | type[StoreBusy] | type[StoreConflict] | None

# By the beginning of the SQLSTATE; the longest counts.
SQLSTATES: Mapping[str, Remedy] = {
    # The connection is lost or refused; poolers say so too of servers that they cannot reach.
    "08": StoreUnavailable,
    # A standby, or a server that was demoted or runs out of disk: another one takes writes, or this one later.
    "25006": StoreUnavailable,
    # The server has ended a session that was frozen inside its transaction (and 25P04, a transaction that took long).
    "25P03": StoreUnavailable,
    "25P04": StoreUnavailable,
    # A password was rotated, a role or database is not there yet: somebody is at it, and other servers may be ready.
    "28": StoreUnavailable,
    "3D000": StoreUnavailable,
    # The server has undone one of two transactions. Nothing of it is left, so it is free to be repeated.
    "40": StoreConflict,
    # Disk, memory or connections are used up: until somebody makes room, or another server takes over.
    "53": StoreUnavailable,
    # Somebody else uses it, or has locked it for longer than we wait at a time: a migration, VACUUM FULL.
    "55006": StoreBusy,
    "55P03": StoreBusy,
    # The server stops, starts, or has cut us off.
    "57": StoreUnavailable,
    # A statement was cancelled, by hand or by a timeout of the operator's: it waited, most likely. The session is fine.
    "57014": StoreBusy,
    # The server's disk fails or files of it are gone: a standby has its own.
    "58": StoreUnavailable,
    # XX (internal error, damaged page or index) is left out: it is about the rows that the statement touched, so only
    # who needs them may fail, and dead letters tell it. So is 54 (a row too large): waiting mends neither.
    # 55000 is left out too: it is about functions that nothing here calls.
}

# By the beginning of the name of the extended result code; the longest counts.
SQLITE_CODES: Mapping[str, Remedy] = {
    # Another process writes, or recovers the log; PROTOCOL: both have tried at one moment, again and again.
    "SQLITE_BUSY": StoreBusy,
    "SQLITE_PROTOCOL": StoreBusy,
    # Plain LOCKED is left out: it is our own connection that is in its way. This is another one with the same cache.
    "SQLITE_LOCKED_SHAREDCACHE": StoreBusy,
    # Until somebody makes room.
    "SQLITE_FULL": StoreUnavailable,
    # A disk that is not mounted, fails or was mounted read-only, a file that was moved away.
    "SQLITE_CANTOPEN": StoreUnavailable,
    "SQLITE_IOERR": StoreUnavailable,
    "SQLITE_READONLY": StoreUnavailable,
    # Unlike a page of PostgreSQL's it is mended as a whole, by a good file in its place: only new connections see it.
    "SQLITE_CORRUPT": StoreUnavailable,
    "SQLITE_NOTADB": StoreUnavailable,
}


def remedy_of(error: DBAPIError) -> Remedy:
    """The remedy of what the driver raised; None = there is none, so it passes unchanged."""
    if error.connection_invalidated:
        # Whatever the server said as its last word.
        return StoreUnavailable
    if name := getattr(error.orig, "sqlite_errorname", None):
        return _by_beginning(SQLITE_CODES, name)
    if state := getattr(error.orig, "sqlstate", None):
        return _by_beginning(SQLSTATES, state)
    # psycopg gives no state where it could not connect, for whatever reason, or not in time.
    is_psycopg = hasattr(error.orig, "sqlstate")
    return StoreUnavailable if is_psycopg and isinstance(error, OperationalError) else None


def _by_beginning(table: Mapping[str, Remedy], code: str) -> Remedy:
    found = max((key for key in table if code.startswith(key)), key=len, default=None)
    return None if found is None else table[found]

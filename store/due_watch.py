"""One question for all loops of a process: which kinds of work are due?

So a loop need not ask while nothing is due. Whatever another process has committed, or becomes due by time alone, is
found by the next asking; a lost connection or a restart loses nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from time import monotonic, sleep
from typing import Any, cast

from sqlalchemy import func, select, true

from store import leases, outbox
from store.database import Database
from store.database_errors import StoreUnavailable
from store.wakeups import Kind

ASK_SECONDS = 0.1
# SQLite tells for next to nothing whether anybody has committed.
SQLITE_SECONDS = 0.012
TROUBLE_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""A loop looks for itself after so long without a ring: one locked table holds up the question, not the loops."""


def watch(database: Database, stop: Event) -> None:
    """Ring for what is due, until `stop`.

    While the store does not answer all loops are rung once a second: each meets the trouble itself, and reports it.
    """
    while not stop.is_set():
        try:
            with asking(database) as question:
                while not question.wait(stop):
                    database.wakeups.ring(*question.kinds_due())
        except Exception:  # noqa: BLE001 - whatever it is, the loops meet it too, and readiness tells theirs
            database.wakeups.ring_all()
            stop.wait(TROUBLE_SECONDS)


class Question:
    """Asks by a connection of its own, without transactions: this is nearly all that an idle worker does.

    Both methods raise the driver's errors, and `kinds_due` StoreUnavailable too.
    """

    def __init__(self, connection: Any, text: str, kinds: Sequence[Kind], *, is_sqlite: bool) -> None:  # noqa: ANN401 - the driver's
        self._cursor = connection.cursor()
        self._text, self._kinds, self._is_sqlite = text, kinds, is_sqlite
        self._seen = -1  # the first question is asked at once: nobody knows what was committed before

    def kinds_due(self) -> list[Kind]:
        """Return the kinds of which there is work that is due."""
        *found, takes_writes = self._cursor.execute(self._text).fetchall()[0]
        if not takes_writes:
            raise StoreUnavailable("the server takes no writes")
        return [kind for kind, is_due in zip(self._kinds, found, strict=True) if is_due]

    def wait(self, stop: Event) -> bool:
        """Wait ASK_SECONDS; on SQLite no longer than until something is committed. Returns True if `stop` is set."""
        if not self._is_sqlite:
            return stop.wait(ASK_SECONDS)
        until = monotonic() + ASK_SECONDS
        while (commits := self._commits()) == self._seen and monotonic() < until and not stop.is_set():
            sleep(SQLITE_SECONDS)  # an Event takes twice as much of the processor for such short waits
        self._seen = commits
        return stop.is_set()

    def _commits(self) -> int:
        """SQLite's number of what other connections have committed, of this process too."""
        return int(self._cursor.execute("PRAGMA data_version").fetchall()[0][0]) if self._is_sqlite else 0


@contextmanager
def asking(database: Database) -> Iterator[Question]:
    """Yield the question; SQLAlchemy is used for its text only. Raises the driver's errors."""
    kinds = {"partners": leases.any_due(), "outbox": outbox.any_to_send(), "deferred": outbox.any_deferred()}
    is_sqlite = database.engine.dialect.name == "sqlite"
    # A server that was demoted would go on to answer, by what was true then.
    takes_writes = true() if is_sqlite else func.current_setting("transaction_read_only") == "off"
    query = select(*kinds.values(), takes_writes).compile(database.engine, compile_kwargs={"literal_binds": True})
    pooled = database.engine.raw_connection()
    pooled.detach()
    try:
        connection = cast("Any", pooled.dbapi_connection)
        if not is_sqlite:
            connection.autocommit = True
        yield Question(connection, str(query), cast("list[Kind]", list(kinds)), is_sqlite=is_sqlite)
    finally:
        pooled.close()

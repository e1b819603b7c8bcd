"""One question for all loops of a process: which kinds of work are due?

So a loop need not ask while nothing is due. Whatever another process has committed, or becomes due by time alone, is
found by the next asking; a lost connection or a restart loses nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, cast

from sqlalchemy import select

from store import leases, outbox
from store.database import Database
from store.wakeups import Kind

POLL_SECONDS = {"postgresql": 0.1, "sqlite": 0.035}
TROUBLE_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""A loop looks for itself after so long without a ring: one locked table holds up the question, not the loops."""


def watch(database: Database, stop: Event) -> None:
    """Ring for what is due, until `stop`.

    While the store does not answer all loops are rung once a second: each meets the trouble itself, and reports it.
    """
    pause = POLL_SECONDS[database.engine.dialect.name]
    while not stop.is_set():
        try:
            with asking(database) as kinds_due:
                while not stop.wait(pause):
                    database.wakeups.ring(*kinds_due())
        except Exception:  # noqa: BLE001 - whatever it is, the loops meet it too, and readiness tells theirs
            database.wakeups.ring_all()
            stop.wait(TROUBLE_SECONDS)


@contextmanager
def asking(database: Database) -> Iterator[Callable[[], list[Kind]]]:
    """Yield a function that returns the kinds that are due. Raises the driver's errors.

    It has a connection of its own without transactions, and SQLAlchemy only for the text: asking is nearly all that an
    idle worker does.
    """
    kinds = {"partners": leases.any_due(), "outbox": outbox.any_to_send(), "deferred": outbox.any_deferred()}
    query = select(*kinds.values()).compile(database.engine, compile_kwargs={"literal_binds": True})
    text, names = str(query), cast("list[Kind]", list(kinds))
    pooled = database.engine.raw_connection()
    pooled.detach()
    try:
        connection = cast("Any", pooled.dbapi_connection)
        if database.engine.dialect.name == "postgresql":
            connection.autocommit = True
        cursor = connection.cursor()

        def kinds_due() -> list[Kind]:
            found = cursor.execute(text).fetchall()[0]
            return [name for name, is_due in zip(names, found, strict=True) if is_due]

        yield kinds_due
    finally:
        pooled.close()

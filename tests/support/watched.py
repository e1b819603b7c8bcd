"""A database that is watched for due work, as it is in a worker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from store import Database, due_watch


@contextmanager
def watched(database: Database) -> Iterator[None]:
    """Wake the loops on this database when work is due, while the block lasts; then all of them, to see its end."""
    stop = threading.Event()
    thread = threading.Thread(target=due_watch.watch, args=(database, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        database.wakeups.ring_all()

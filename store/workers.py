"""The report of each running worker about itself, so that `health` can be asked anywhere."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from store.database import Tx, db_now, upsert
from store.schema import workers

SILENT_AFTER = 30.0
"""Seconds without a word after which a worker is taken for dead."""
SHOWN_FOR = timedelta(hours=1)
"""The time after its last word for which a worker is told of."""


@dataclass(frozen=True)
class Worker:
    """A worker process; `trouble` = why it does not work, None = it does; `silent` = it has not spoken for long.

    `clock_ahead`: by how many seconds its machine's clock is fast; negative = slow, None = not known.
    """

    id: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    trouble: str | None
    clock_ahead: float | None
    silent: bool


def heartbeat(tx: Tx, worker_id: str, host: str, pid: int, trouble: str | None, clock_ahead: float) -> None:
    """A worker lives, and how it does."""
    news = {"seen_at": db_now(), "trouble": trouble, "clock_ahead": clock_ahead}
    statement = upsert(tx, workers).values(id=worker_id, host=host[:255], pid=pid, started_at=db_now(), **news)
    tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=news))


def forget(tx: Tx, worker_id: str) -> None:
    """A worker has ended."""
    tx.execute(delete(workers).where(workers.c.id == worker_id))


def recent(tx: Tx) -> list[Worker]:
    """The workers that spoke lately, oldest first."""
    silent = (workers.c.seen_at < db_now(-SILENT_AFTER)).label("silent")
    query = (
        select(workers, silent)
        .where(workers.c.seen_at > db_now(-SHOWN_FOR.total_seconds()))
        .order_by(workers.c.started_at)
    )
    return [Worker(**{**row, "silent": bool(row["silent"])}) for row in tx.execute(query).mappings()]

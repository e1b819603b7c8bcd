"""Heartbeats of the running workers, so that `health` can be run anywhere."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from store.database import Tx, db_now, upsert
from store.schema import workers

SILENT_AFTER = 30.0
"""Seconds without a heartbeat after which a worker counts as dead."""
SHOWN_FOR = timedelta(hours=1)
"""The time after its last heartbeat for which a worker is listed."""


@dataclass(frozen=True)
class Worker:
    """A worker process; `trouble`: why it cannot work, None = it works; `silent`: its heartbeat is overdue.

    `clock_ahead`: seconds by which its machine's clock is fast; negative = slow, None = not known.
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
    """Store a worker's heartbeat, and the trouble that it has."""
    values = {"seen_at": db_now(), "trouble": trouble, "clock_ahead": clock_ahead}
    statement = upsert(tx, workers).values(id=worker_id, host=host[:255], pid=pid, started_at=db_now(), **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def forget(tx: Tx, worker_id: str) -> None:
    """Delete the heartbeat of a worker that has ended."""
    tx.execute(delete(workers).where(workers.c.id == worker_id))


def recent(tx: Tx) -> list[Worker]:
    """The workers with a heartbeat in the last SHOWN_FOR, the longest running first."""
    silent = (workers.c.seen_at < db_now(-SILENT_AFTER)).label("silent")
    query = (
        select(workers, silent)
        .where(workers.c.seen_at > db_now(-SHOWN_FOR.total_seconds()))
        .order_by(workers.c.started_at)
    )
    return [Worker(**{**row, "silent": bool(row["silent"])}) for row in tx.execute(query).mappings()]

"""The ages of what waits, for whoever watches an installation: pushes come in monthly bursts, so ratios say little."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from store import backlog, pauses, workers
from store.database import Tx, db_now
from store.schema import EXCHANGE_DEFERRED, dead_letters, outbox, pushes, syncs


@dataclass(frozen=True)
class OpenLetters:
    """Open dead letters of one reason; the oldest failed last at this time."""

    count: int
    oldest: datetime


@dataclass(frozen=True)
class Ages:
    """All by the database's clock, `at`. A time is that of the oldest one; None = none waits.

    `outbox`: due to be sent; `deferred`: due to be handled; `target`: due to be taken up, of a partner that is not
    paused; `push`: accepted and not completed. `paused`: partners by the reason of their pause. `workers`: by whether
    they are silent.
    """

    at: datetime
    outbox: datetime | None
    deferred: datetime | None
    target: datetime | None
    push: datetime | None
    letters: dict[str, OpenLetters]
    paused: dict[str, int]
    workers_alive: int
    workers_silent: int


def read(tx: Tx) -> Ages:
    """Read them, each from the beginning of an index, or from the few rows that are open."""
    at, due_outbox, deferred, target, push = tx.execute(_OLDEST).one()
    letters = {reason: OpenLetters(count, oldest) for reason, count, oldest in tx.execute(_LETTERS)}
    silent = [worker.silent for worker in workers.recent(tx)]
    return Ages(
        at=at,
        outbox=due_outbox,
        deferred=deferred,
        target=target,
        push=push,
        letters=letters,
        paused=backlog.paused_partners(tx),
        workers_alive=silent.count(False),
        workers_silent=silent.count(True),
    )


_NOW = select(db_now()).scalar_subquery()
_OLDEST = select(
    _NOW,
    select(func.min(outbox.c.not_before))
    .where(outbox.c.exchange != EXCHANGE_DEFERRED, outbox.c.not_before <= _NOW)
    .scalar_subquery(),
    select(func.min(outbox.c.not_before))
    .where(outbox.c.exchange == EXCHANGE_DEFERRED, outbox.c.not_before <= _NOW)
    .scalar_subquery(),
    select(func.min(syncs.c.due_at))
    .where(syncs.c.due_at <= _NOW, ~pauses.paused(syncs.c.partner_id))
    .scalar_subquery(),
    select(func.min(pushes.c.accepted_at)).where(pushes.c.state == "accepted").scalar_subquery(),
)
_LETTERS = (
    select(dead_letters.c.reason, func.count(), func.min(dead_letters.c.last_failed_at))
    .where(dead_letters.c.state == "open")
    .group_by(dead_letters.c.reason)
)

"""Counts of the work that waits for the broker, for ConnectWise, or for an operator."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from store.database import Tx, db_now
from store.schema import EXCHANGE_DEFERRED, dead_letters, leases, outbox


@dataclass(frozen=True)
class Backlog:
    """`outbox`: messages due to be sent, the oldest of them since `outbox_since`; `deferred`: messages not handled yet.

    `paused`: number of partners by the reason of their pause.
    """

    outbox: int
    outbox_since: datetime | None
    deferred: int
    dead_letters: int
    paused: dict[str, int]


def read(tx: Tx) -> Backlog:
    """Count what waits now."""
    due_to_send = (outbox.c.not_before <= db_now(), outbox.c.exchange != EXCHANGE_DEFERRED)
    due = tx.execute(select(func.count(), func.min(outbox.c.not_before)).where(*due_to_send)).one()
    deferred = select(func.count()).select_from(outbox).where(outbox.c.exchange == EXCHANGE_DEFERRED)
    letters = tx.execute(select(func.count()).select_from(dead_letters).where(dead_letters.c.state == "open"))
    paused = (
        select(leases.c.paused_why, func.count())
        .where(leases.c.paused_until > db_now())
        .group_by(leases.c.paused_why)
        .order_by(leases.c.paused_why)
    )
    return Backlog(
        outbox=due[0],
        outbox_since=due[1],
        deferred=tx.execute(deferred).scalar_one(),
        dead_letters=letters.scalar_one(),
        paused={str(why): int(count) for why, count in tx.execute(paused)},
    )

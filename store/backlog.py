"""What waits: for the broker, for ConnectWise, for an operator."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from store.database import Tx, db_now
from store.schema import dead_letters, leases, outbox


@dataclass(frozen=True)
class Backlog:
    """`outbox`: messages that are due, the oldest `outbox_since`; `paused`: partners by the reason of the pause."""

    outbox: int
    outbox_since: datetime | None
    dead_letters: int
    paused: dict[str, int]


def read(tx: Tx) -> Backlog:
    """Count what waits now."""
    due = tx.execute(select(func.count(), func.min(outbox.c.not_before)).where(outbox.c.not_before <= db_now())).one()
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
        dead_letters=letters.scalar_one(),
        paused={str(why): int(count) for why, count in tx.execute(paused)},
    )

"""Counts of the work that waits for the broker, for ConnectWise, or for an operator."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from store import pauses
from store.database import Tx, db_now
from store.schema import EXCHANGE_DEFERRED, dead_letters, leases, outbox, syncs


@dataclass(frozen=True)
class Backlog:
    """`outbox`: messages due to be sent, the oldest of them since `outbox_since`; `deferred`: messages not handled yet.

    `lines`: lines due to be taken up, the oldest of them since `lines_since`, without those of paused partners.
    `paused`: number of partners by the reason of their pause.
    """

    outbox: int
    outbox_since: datetime | None
    deferred: int
    lines: int
    lines_since: datetime | None
    dead_letters: int
    paused: dict[str, int]


def read(tx: Tx) -> Backlog:
    """Count what waits now."""
    due_to_send = (outbox.c.not_before <= db_now(), outbox.c.exchange != EXCHANGE_DEFERRED)
    due = tx.execute(select(func.count(), func.min(outbox.c.not_before)).where(*due_to_send)).one()
    deferred = select(func.count()).select_from(outbox).where(outbox.c.exchange == EXCHANGE_DEFERRED)
    due_lines = (syncs.c.due_at <= db_now(), ~pauses.paused(syncs.c.partner_id))
    lines = tx.execute(select(func.count(), func.min(syncs.c.due_at)).where(*due_lines)).one()
    letters = tx.execute(select(func.count()).select_from(dead_letters).where(dead_letters.c.state == "open"))
    return Backlog(
        outbox=due[0],
        outbox_since=due[1],
        deferred=tx.execute(deferred).scalar_one(),
        lines=lines[0],
        lines_since=lines[1],
        dead_letters=letters.scalar_one(),
        paused=paused_partners(tx),
    )


def paused_partners(tx: Tx) -> dict[str, int]:
    """Count the partners whose ConnectWise is left alone now, by the reason."""
    query = (
        select(leases.c.paused_why, func.count())
        .where(leases.c.paused_until > db_now())
        .group_by(leases.c.paused_why)
        .order_by(leases.c.paused_why)
    )
    return {str(why): int(count) for why, count in tx.execute(query)}


def open_lines(tx: Tx, partner_id: str | None) -> int:
    """The number of lines that are to be carried out, now or later, of this partner or of all that are not paused."""
    mine = () if partner_id is None else (syncs.c.partner_id == partner_id,)
    is_open = (syncs.c.due_at.is_not(None), ~pauses.paused(syncs.c.partner_id))
    return tx.execute(select(func.count()).select_from(syncs).where(*mine, *is_open)).scalar_one()

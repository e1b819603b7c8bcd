"""Pauses by operators: the worker does not call ConnectWise for one partner, or for all, until they resume."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, delete, literal, or_, select

from store.database import Tx, db_now, upsert
from store.schema import pauses

EVERYBODY = ""
"""Stands for all partners; no partner has an empty id."""


@dataclass(frozen=True)
class Pause:
    """A pause of a partner, or of EVERYBODY: since when, by whom and why."""

    partner_id: str
    since: datetime
    paused_by: str
    why: str


def pause(tx: Tx, partner_id: str, paused_by: str, why: str) -> None:
    """Pause a partner, or EVERYBODY. A repeated pause only changes by whom and why."""
    values = {"paused_by": paused_by, "why": why}
    statement = upsert(tx, pauses).values(partner_id=partner_id, since=db_now(), **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["partner_id"], set_=values))


def resume(tx: Tx, partner_id: str) -> bool:
    """End the pause of a partner, or that of EVERYBODY. Returns True if there was one."""
    return tx.execute(delete(pauses).where(pauses.c.partner_id == partner_id)).rowcount == 1


def paused(partner_id: ColumnElement[str]) -> ColumnElement[bool]:
    """An expression that is true if the partner or everybody is paused."""
    all_paused = select(pauses.c.partner_id)
    return or_(partner_id.in_(all_paused), literal(EVERYBODY).in_(all_paused))


def find(tx: Tx, partner_id: str) -> Pause | None:
    """The pause that applies to this partner: its own, else that of EVERYBODY, else None."""
    query = select(pauses).where(pauses.c.partner_id.in_((partner_id, EVERYBODY)))
    return next((_pause(row) for row in tx.execute(query.order_by(pauses.c.partner_id.desc()))), None)


def all_pauses(tx: Tx) -> list[Pause]:
    """All pauses, that of EVERYBODY first."""
    return [_pause(row) for row in tx.execute(select(pauses).order_by(pauses.c.partner_id))]


def _pause(row: Row[tuple[object, ...]]) -> Pause:
    return Pause(row.partner_id, row.since, row.paused_by, row.why)

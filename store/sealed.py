"""All stored boxes sealed to our seal keys: private keys of connections, and bodies of dead letters."""

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, func, or_, select, update

from store.database import AT_ONCE_BYTES, Tx
from store.replays import SEALED_WITH
from store.schema import connections, dead_letters, outbox

Place = Literal["connection", "dead_letter"]
PLACES: tuple[Place, ...] = ("connection", "dead_letter")


@dataclass(frozen=True)
class Sealed:
    """A sealed box and its place; `row` is the id of its row: the partner (who has one box), or the dead letter."""

    place: Place
    row: str
    partner_id: str | None
    key_id: str
    box: bytes


@dataclass(frozen=True)
class _Columns:
    row: Column[Any]
    partner_id: Column[Any]
    key_id: Column[Any]
    box: Column[Any]


_COLUMNS: dict[Place, _Columns] = {
    "connection": _Columns(connections.c.partner_id, connections.c.partner_id, connections.c.key_id, connections.c.box),
    "dead_letter": _Columns(
        dead_letters.c.id, dead_letters.c.partner_id, dead_letters.c.sealed_with, dead_letters.c.body
    ),
}


def sealed_to_other_keys(tx: Tx, place: Place, key_id: str, *, after: str, limit: int) -> list[Sealed]:
    """Boxes sealed to another key than this, ordered by row, beginning after the row `after`.

    At most `limit` boxes and AT_ONCE_BYTES, or a single larger one.
    """
    at = _COLUMNS[place]
    numbered = (
        select(
            at.row.label("row"),
            func.row_number().over(order_by=at.row).label("number"),
            func.sum(func.length(at.box)).over(order_by=at.row).label("bytes"),
        )
        .where(at.key_id.is_not(None), at.key_id != key_id, at.row > after)
        .order_by(at.row)
        .limit(limit)
        .subquery()
    )
    query = (
        select(at.row, at.partner_id, at.key_id, at.box)
        .join(numbered, numbered.c.row == at.row)
        .where(or_(numbered.c.number == 1, numbered.c.bytes <= AT_ONCE_BYTES))
        .order_by(at.row)
    )
    return [Sealed(place, row, partner_id, key, _bytes(box)) for row, partner_id, key, box in tx.execute(query)]


def dead_letters_after(tx: Tx, row: str, limit: int) -> list[Sealed]:
    """The boxes of dead letters, ordered by row, beginning after this row."""
    return sealed_to_other_keys(tx, "dead_letter", "", after=row, limit=limit)


def replace(tx: Tx, old: Sealed, key_id: str, box: bytes) -> bool:
    """Replace a box unless its row has changed since `old` was read. Returns True if it was replaced."""
    at = _COLUMNS[old.place]
    statement = (
        update(at.row.table)
        .where(at.row == old.row, at.key_id == old.key_id, at.box == _stored(old.place, old.box))
        .values({at.key_id: key_id, at.box: _stored(old.place, box)})
    )
    return tx.execute(statement).rowcount == 1


def in_use(tx: Tx) -> dict[str, int]:
    """The number of boxes sealed to each key, by key id, including those in the outbox."""
    counts = Counter(in_outbox(tx))
    for at in _COLUMNS.values():
        query = select(at.key_id, func.count()).where(at.key_id.is_not(None)).group_by(at.key_id)
        counts.update({row[0]: row[1] for row in tx.execute(query)})
    return dict(counts)


def in_outbox(tx: Tx) -> dict[str, int]:
    """The number of outbox rows sealed to each key, by key id. They are sent soon, so they are not sealed again."""
    query = select(outbox.c.properties_json).where(outbox.c.properties_json.contains(SEALED_WITH, autoescape=True))
    properties = map(json.loads, tx.execute(query).scalars())
    return dict(Counter(of_row[SEALED_WITH] for of_row in properties if SEALED_WITH in of_row))


def _bytes(box: str | bytes) -> bytes:
    """The bytes of the box; none if it is not base64, which is then reported as damaged when it is opened."""
    try:
        return base64.b64decode(box, validate=True) if isinstance(box, str) else box
    except binascii.Error:
        return b""


def _stored(place: Place, box: bytes) -> str | bytes:
    return base64.b64encode(box).decode() if place == "connection" else box

"""An operator's actions on dead letters, and the outcome of each replay. The history says who, when and why."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import select, update

from messages import MAX_PROPERTIES
from store import dead_letters as letters
from store import outbox
from store.amqp_properties import REPLAY_HEADER, as_sent, encoded_size
from store.database import Tx, now, upsert
from store.dead_letter_queries import get
from store.outbox import OutboxRow
from store.schema import dead_letter_originals, dead_letters

SEALED_WITH = "phin-sealed-with"
"""Among the properties of an outbox row: the id of our key that the body is sealed to until it is sent."""

_REPLAY = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True)
class Replay:
    """The `number`-th replay of a dead letter, from 1."""

    letter_id: str
    number: int

    def __str__(self) -> str:
        return f"{self.letter_id}/{self.number}"


@dataclass(frozen=True)
class Original:
    """The body of a letter before it was corrected for the replay of this number."""

    number: int
    body: bytes
    corrected_at: datetime
    corrected_by: str


class TooLarge(Exception):
    """The letter's properties are larger than a worker accepts."""


class Noted(Enum):
    """The result of `note`: the replay was noted now, or before, or is unknown."""

    NOW = "now"
    BEFORE = "before"
    UNKNOWN = "unknown"


def replay_of(properties: Mapping[str, Any]) -> Replay | None:
    """The replay that a message's header names; None = it is no replay, or the header is not ours."""
    header = (properties.get("headers") or {}).get(REPLAY_HEADER)
    parts = _REPLAY.fullmatch(header) if isinstance(header, str) else None
    return Replay(parts[1], int(parts[2])) if parts else None


def replay(tx: Tx, letter_id: str, *, by: str, why: str | None) -> Replay | None:
    """Send an open letter again when the transaction commits; None = it is not open. Raises TooLarge."""
    letter = get(tx, letter_id, lock=True)
    if letter is None or letter.state != "open":
        return None
    if is_too_large(letter.properties):
        raise TooLarge(letter_id)
    replay = Replay(letter.id, letter.replays + 1)
    entry = _entry(now(tx), "replayed", by, why, number=replay.number, reason=letter.reason, error=letter.error[:500])
    _change(tx, letter_id, "replayed", entry, replays=replay.number)
    properties = as_sent(letter.properties)
    properties["headers"] = properties.get("headers", {}) | {REPLAY_HEADER: str(replay)}
    if letter.sealed_with is not None:
        properties[SEALED_WITH] = letter.sealed_with
    row = OutboxRow(0, str(replay), 0, letter.exchange or "", letter.queue, properties, letter.body)
    outbox.put_rows(tx, [row])
    return replay


def correct(tx: Tx, letter_id: str, body: bytes, *, before: bytes, by: str, why: str) -> bool:
    """Put another body into an open letter that is not sealed, in place of `before`; the one that came is kept.

    Returns True if it was so.
    """
    letter = get(tx, letter_id, lock=True)
    if letter is None or letter.state != "open" or letter.sealed_with is not None or letter.body != before:
        return False
    at = now(tx)
    key = {"letter_id": letter_id, "number": letter.replays + 1}
    original = upsert(tx, dead_letter_originals).values(
        key | {"body": letter.body, "corrected_at": at, "corrected_by": by}
    )
    # Corrected twice before a replay, the body of that replay is the last one: the first is the one that came.
    tx.execute(original.on_conflict_do_nothing())
    statement = update(dead_letters).where(dead_letters.c.id == letter_id)
    tx.execute(statement.values(body=body, history_json=letters.appended(_entry(at, "corrected", by, why))))
    return True


def originals(tx: Tx, letter_id: str) -> list[Original]:
    """The bodies that a letter had before it was corrected, the first one first."""
    query = select(dead_letter_originals).where(dead_letter_originals.c.letter_id == letter_id)
    rows = tx.execute(query.order_by(dead_letter_originals.c.number)).mappings()
    return [Original(**{name: row[name] for name in Original.__dataclass_fields__}) for row in rows]


def is_too_large(properties: Mapping[str, Any]) -> bool:
    """True if a worker would refuse a replay with these properties."""
    return encoded_size(as_sent(properties)) > MAX_PROPERTIES


def note(tx: Tx, replay: Replay) -> Noted:
    """Note, in the transaction of the work, that a replay was handled."""
    query = select(dead_letters.c.applied, dead_letters.c.replays).where(dead_letters.c.id == replay.letter_id)
    row = tx.execute(query.with_for_update()).first()
    if row is None or replay.number > row.replays:
        return Noted.UNKNOWN
    if replay.number <= row.applied:
        return Noted.BEFORE
    tx.execute(update(dead_letters).where(dead_letters.c.id == replay.letter_id).values(applied=replay.number))
    return Noted.NOW


def came_back(tx: Tx, replay: Replay, body: bytes, reason: str, error: str) -> bool:
    """Open the letter of a replay that could not be sent, unless an operator has acted on it since.

    Returns True if the letter still holds this body; otherwise other lines of the push have taken its place.
    """
    entry = _entry(now(tx), "came back", None, error)
    is_last = (dead_letters.c.replays == replay.number) & (dead_letters.c.state == "replayed")
    opened = (
        update(dead_letters)
        .where(dead_letters.c.id == replay.letter_id, is_last)
        .values(
            state="open",
            returns=dead_letters.c.returns + 1,
            reason=reason,
            error=letters.storable(error)[:4000],
            error_type=None,
            error_at="",
            fingerprint=letters.fingerprint(reason, None, ""),
            history_json=letters.appended(entry),
        )
    )
    if tx.execute(opened).rowcount == 1:
        return True
    letter = get(tx, replay.letter_id)
    return letter is not None and letter.body == body


def discard(tx: Tx, letter_ids: Sequence[str], *, by: str, why: str | None) -> set[str]:
    """Discard those that are open; returns their ids."""
    return _change_state(tx, letter_ids, "open", "discarded", _entry(now(tx), "discarded", by, why))


def restore(tx: Tx, letter_ids: Sequence[str], *, by: str, why: str | None) -> set[str]:
    """Open those again that are discarded; returns their ids."""
    return _change_state(tx, letter_ids, "discarded", "open", _entry(now(tx), "restored", by, why))


def _change_state(tx: Tx, letter_ids: Sequence[str], before: str, after: str, entry: str) -> set[str]:
    which = (dead_letters.c.id.in_(letter_ids), dead_letters.c.state == before)
    # Locked in the order of all who lock several, so that nobody deadlocks.
    locked = select(dead_letters.c.id).where(*which).order_by(dead_letters.c.id).with_for_update()
    ids = set(tx.execute(locked).scalars())
    changed = update(dead_letters).where(dead_letters.c.id.in_(ids))
    tx.execute(changed.values(state=after, history_json=letters.appended(entry)))
    return ids


def _change(tx: Tx, letter_id: str, state: str, entry: str, **values: int) -> None:
    statement = update(dead_letters).where(dead_letters.c.id == letter_id)
    tx.execute(statement.values(state=state, history_json=letters.appended(entry), **values))


def _entry(at: datetime, what: str, by: str | None, why: str | None, **more: object) -> str:
    fields = {"at": at.isoformat(), "what": what, "by": by, "why": why, **more}
    return json.dumps({name: value for name, value in fields.items() if value is not None})

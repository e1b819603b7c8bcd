"""Dead letters: messages and work that wait for a human, with their reason; and messages that may be poison."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, func, insert, select
from uuid6 import uuid7

from store.database import Tx, db_now, upsert
from store.schema import dead_letters, in_hand


@dataclass(frozen=True)
class DeadLetter:
    """A message for a human: bytes and properties unharmed, `queue` where a replay goes."""

    queue: str
    body: bytes
    properties: Mapping[str, Any]
    reason: str
    error: str
    error_type: str | None = None
    error_at: str = ""
    partner_id: str | None = None
    message_id: str | None = None
    kind: str | None = None
    attempts: int = 1

    @property
    def fingerprint(self) -> str:
        """What groups dead letters of one cause: reason, error type, first frame of ours."""
        return sha256("\n".join((self.reason, self.error_type or "", self.error_at)).encode()).hexdigest()[:16]


def add(tx: Tx, letter: DeadLetter) -> str:
    """Keep it; returns its id."""
    letter_id = str(uuid7())
    tx.execute(
        insert(dead_letters).values(
            id=letter_id,
            partner_id=letter.partner_id,
            message_id=_short(letter.message_id, 128),
            kind=_short(letter.kind, 255),
            queue=letter.queue,
            properties_json=json.dumps(dict(letter.properties), default=repr),
            body=letter.body,
            reason=letter.reason,
            error_type=letter.error_type,
            error=letter.error.replace("\0", "\\0")[:4000],
            fingerprint=letter.fingerprint,
            attempts=letter.attempts,
            first_failed_at=db_now(),
            last_failed_at=db_now(),
        )
    )
    return letter_id


def count_by_reason(tx: Tx) -> dict[str, int]:
    """Open dead letters, counted by reason."""
    query = select(dead_letters.c.reason, func.count()).where(dead_letters.c.state == "open")
    return dict(tx.execute(query.group_by(dead_letters.c.reason)).all())


def take_in_hand(tx: Tx, queue: str, message_key: str) -> int:
    """Note, before a redelivered message is handled, that it is; returns which try this is. Commit it at once."""
    statement = (
        upsert(tx, in_hand)
        .values(queue=queue, message_key=message_key, tries=1, since=db_now())
        .on_conflict_do_update(index_elements=["queue", "message_key"], set_={"tries": in_hand.c.tries + 1})
        .returning(in_hand.c.tries)
    )
    return int(tx.execute(statement).scalar_one())


def out_of_hand(tx: Tx, queue: str, message_key: str) -> None:
    """The message is done with."""
    tx.execute(delete(in_hand).where(in_hand.c.queue == queue, in_hand.c.message_key == message_key))


def _short(text: str | None, length: int) -> str | None:
    return None if text is None else text.replace("\0", "\\0")[:length]

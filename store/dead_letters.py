"""Dead letters: messages and failed lines that wait for an operator, with their reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, case, func, literal, select

from store import amqp_properties as amqp
from store.database import Tx, detach_if_large, now, upsert
from store.schema import dead_letters

# Stands for the replay number of a letter that is no replay, and so never late.
_NEVER_LATE = 2**31 - 1
# The columns that are replaced when a letter comes again.
_REPLACED = (
    "partner_id",
    "message_id",
    "kind",
    "properties_json",
    "body",
    "sealed_with",
    "reason",
    "error_type",
    "error_at",
    "error",
    "fingerprint",
    "last_failed_at",
)


@dataclass(frozen=True)
class DeadLetter:
    """A message with its unchanged body and properties. A replay is sent to `queue`.

    `exchange`: if set, a replay is sent there with the routing key `queue`. `sealed_with`: the id of our key to which
    the body is sealed. `replay`: (id of a letter, n) if the message claims to be the n-th replay of that letter.
    """

    id: str
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
    exchange: str | None = None
    sealed_with: str | None = None
    replay: tuple[str, int] | None = None

    @property
    def fingerprint(self) -> str:
        """The key by which dead letters of one cause are grouped."""
        return fingerprint(self.reason, self.error_type, self.error_at)


class LetterOfLines(NamedTuple):
    """The id of the letter for failed lines; `open_body` is its body if it is there and open."""

    id: str
    open_body: bytes | None


def fingerprint(reason: str, error_type: str | None, error_at: str) -> str:
    """Hash a cause: the reason, the error type, and the first frame in our code."""
    return sha256("\n".join((reason, error_type or "", error_at)).encode()).hexdigest()[:16]


def id_of_message(queue: str, properties: Mapping[str, Any], body: bytes, exchange: str | None = None) -> str:
    """Make an id from what the sender sent, so that it is the same however often the message comes.

    `body` is not sealed. Its hash gives nothing away, since ConnectWise's keys are long and random.
    """
    return _id(json.dumps([queue, exchange]).encode(), amqp.dumps(amqp.as_sent(properties)).encode(), body)


def letter_of_lines(tx: Tx, partner_id: str, push_id: str, reason: str) -> LetterOfLines:
    """The letter for lines of a push that failed for one reason, locked until this transaction ends.

    A discarded letter is left as it is, as it may be restored: further lines go into the next letter.
    """
    for number in count():
        letter_id = _id(b"lines", json.dumps([partner_id, push_id, reason, *([number] if number else [])]).encode())
        query = select(dead_letters.c.state, dead_letters.c.body).where(dead_letters.c.id == letter_id)
        row = tx.execute(query.with_for_update()).first()
        if row is None or row.state != "discarded":
            break
    return LetterOfLines(letter_id, row.body if row is not None and row.state == "open" else None)


def add(tx: Tx, *letters: DeadLetter) -> None:
    """Store letters. A stored letter gets another attempt; one that was replayed or discarded is opened again.

    A late failure of an earlier replay than the last one opens nothing.
    """
    if not letters:
        return
    letters = tuple(_as_original(tx, letter) for letter in letters)
    at = now(tx)
    came_back = json.dumps({"at": at.isoformat(), "what": "came back"})
    table, insertion = dead_letters.c, upsert(tx, dead_letters)
    new = insertion.excluded
    is_late = table.replays > bindparam("b_replay")
    is_open = table.state == "open"
    is_back = (table.state == "replayed") & ~is_late
    statement = insertion.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "attempts": table.attempts + case((is_open, 1), else_=new.attempts),
            "returns": table.returns + case((is_back, 1), else_=0),
            "history_json": case((is_back, appended(came_back)), else_=table.history_json),
            "state": case((is_late, table.state), else_="open"),
            **{name: new[name] for name in _REPLACED},
        },
    )
    # Always in the same order, so that workers with the same letters cannot deadlock.
    tx.execute(statement, [_row(letter, at) for letter in sorted(letters, key=lambda letter: letter.id)])
    detach_if_large(tx, sum(len(letter.body) for letter in letters))


def count_by_reason(tx: Tx) -> dict[str, int]:
    """The number of open dead letters by reason."""
    query = select(dead_letters.c.reason, func.count()).where(dead_letters.c.state == "open")
    return dict(tx.execute(query.group_by(dead_letters.c.reason)).all())


def appended(entry: str | ColumnElement[str]) -> ColumnElement[str]:
    """An expression for the history with one more entry, which is JSON."""
    history, added = dead_letters.c.history_json, literal(entry) if isinstance(entry, str) else entry
    return case(
        (history == "[]", literal("[") + added + literal("]")),
        else_=func.substr(history, 1, func.length(history) - 1) + literal(", ") + added + literal("]"),
    )


def storable(text: str) -> str:
    """The text in a form that both databases store: without NUL and lone surrogates."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _id(*parts: bytes) -> str:
    digest = sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()
    return str(UUID(bytes=digest[:16]))


def _as_original(tx: Tx, letter: DeadLetter) -> DeadLetter:
    """Give the letter of a replay the id of the original, if queue and body show that it is one."""
    if letter.replay is None or letter.replay[0] == letter.id:
        return letter
    table = dead_letters.c
    same = (table.id == letter.replay[0], table.queue == letter.queue, table.body == letter.body)
    original = tx.execute(select(table.id).where(*same)).scalar()
    return replace(letter, replay=None) if original is None else replace(letter, id=original)


def _row(letter: DeadLetter, at: datetime) -> dict[str, Any]:
    return {
        "id": letter.id,
        "partner_id": letter.partner_id,
        "message_id": _short(letter.message_id, 128),
        "kind": _short(letter.kind, 255),
        "exchange": letter.exchange,
        "queue": storable(letter.queue)[:255],
        "properties_json": amqp.dumps(letter.properties),
        "body": letter.body,
        "sealed_with": letter.sealed_with,
        "reason": letter.reason,
        "error_type": letter.error_type,
        "error_at": letter.error_at,
        "error": storable(letter.error)[:4000],
        "fingerprint": letter.fingerprint,
        "attempts": letter.attempts,
        "first_failed_at": at,
        "last_failed_at": at,
        "b_replay": _NEVER_LATE if letter.replay is None else letter.replay[1],
    }


def _short(text: str | None, length: int) -> str | None:
    return None if text is None else storable(text)[:length]

"""The outbox: all messages to send, now or later, written in the transaction of the work."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, bindparam, case, func, insert, literal, not_, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.sql.dml import ReturningUpdate

from messages import (
    EXCHANGE_IN,
    EXCHANGE_OUT,
    OUTPUTS,
    Message,
    PushCompleted,
    SyncResult,
    Wire,
    encode,
    type_of,
)
from store import amqp_properties as amqp
from store.any_of import any_of
from store.bulk import FEW, insert_many
from store.database import AT_ONCE_BYTES, Tx, db_now, detach_if_large, now, now_once
from store.dead_letters import storable
from store.schema import EXCHANGE_DEFERRED, outbox
from store.wakeups import wake_after

EXCHANGE_REPLIES = "connectwise.replies"
"""Not an exchange of the broker: the routing key is the full name of the queue that awaits the reply."""

_EXCHANGES = dict.fromkeys(OUTPUTS, EXCHANGE_OUT)
# Written into the statement, so that PostgreSQL can use the partial indexes.
_DEFERRED = literal(EXCHANGE_DEFERRED, literal_execute=True)
_COMPLETION = type_of(PushCompleted)

Destination = tuple[str, str]
"""(exchange, routing key)"""


@dataclass(frozen=True)
class OutboxRow:
    """A message to send; `attempts` includes the current one.

    `partner_id` is set for a deferred message; `push_id` too for a result and a completion.
    """

    id: int
    message_id: str
    attempts: int
    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: bytes
    partner_id: str | None = None
    push_id: str | None = None


@dataclass(frozen=True)
class Claim:
    """Rows that this worker alone may handle for a while. Their bodies are read once the claim is committed."""

    token: str
    ids: list[int]


def put(tx: Tx, *messages: Message, not_before: datetime | None = None) -> None:
    """Send these messages when the transaction commits, or at `not_before`."""
    put_rows(tx, [row_of(message) for message in messages], not_before=not_before)


def put_reply(tx: Tx, message: Message, queue: str) -> None:
    """Send this message to a reply queue when the transaction commits."""
    wire = encode(message)
    put_rows(tx, [new_row(EXCHANGE_REPLIES, queue, properties_of(wire), wire.body)])


def row_of(message: Message) -> OutboxRow:
    """The message as a row that is not stored yet, with the exchange of its kind."""
    wire = encode(message)
    exchange = _EXCHANGES.get(type(message), EXCHANGE_IN)
    row = new_row(exchange, wire.routing_key, properties_of(wire), wire.body)
    if isinstance(message, SyncResult | PushCompleted):
        return replace(row, partner_id=message.partner_id, push_id=message.push_id)
    return row


def put_rows(tx: Tx, rows: Sequence[OutboxRow], *, not_before: datetime | None = None) -> None:
    """Send stored bytes as they are, when the transaction commits or at `not_before`."""
    if not_before is None and 0 < len(rows) <= FEW:
        tx.execute(_PUT_NOW, [_values(row) for row in rows])
        _note(tx, rows)
    elif rows:
        at = now(tx) if not_before is None else not_before
        put_each(tx, [(row, at) for row in rows])


def put_each(tx: Tx, rows: Sequence[tuple[OutboxRow, datetime]]) -> None:
    """Send stored bytes as they are, each at its own time."""
    if rows:
        insert_many(tx, outbox, [{**_values(row), "not_before": at} for row, at in rows])
        _note(tx, [row for row, _ in rows])


_PUT_NOW = insert(outbox).values(not_before=db_now())


def _note(tx: Tx, rows: Sequence[OutboxRow]) -> None:
    """Wake those who send these rows once the transaction is committed."""
    for exchange in {row.exchange for row in rows}:
        wake_after(tx, "deferred" if exchange == EXCHANGE_DEFERRED else "outbox")
    detach_if_large(tx, sum(len(row.body) for row in rows))


def defer(tx: Tx, rows: Sequence[tuple[OutboxRow, float]]) -> None:
    """Store messages for a worker to handle, each after its number of seconds; `routing_key` is their queue."""
    at = now(tx)
    put_each(tx, [(row, at + timedelta(seconds=seconds)) for row, seconds in rows])


def any_to_send() -> ColumnElement[bool]:
    """A condition: a message is due to be sent, and not claimed."""
    return select(outbox.c.id).where(_is_sent(), *_is_free(now_once())).exists()


def any_deferred() -> ColumnElement[bool]:
    """A condition: a deferred message is due, and not claimed."""
    return select(outbox.c.id).where(outbox.c.exchange == _DEFERRED, *_is_free(now_once())).exists()


def due_keys(tx: Tx) -> list[Destination]:
    """The destinations of messages that are due and not claimed."""
    query = select(outbox.c.exchange, outbox.c.routing_key).where(_is_sent(), *_is_free()).distinct()
    return [(exchange, key) for exchange, key in tx.execute(query)]


def holds_correlation_id(tx: Tx, correlation_id: str) -> bool:
    """True if a message with this correlation id is in the outbox."""
    has_id = outbox.c.properties_json.contains(json.dumps(correlation_id), autoescape=True)
    return tx.execute(select(outbox.c.id).where(has_id).limit(1)).first() is not None


def claim(
    tx: Tx,
    limit: int,
    seconds: float,
    *,
    size: int = AT_ONCE_BYTES,
    only: Destination | None = None,
    but: Iterable[Destination] = (),
) -> Claim:
    """Claim due rows for `seconds`, and count an attempt of each; no other worker sees them meanwhile.

    At most `limit` rows and `size` bytes, the oldest due first; a single row may be larger. `only` restricts to one
    destination, `but` leaves some out.
    """
    which = [not_(_goes_to(destination)) for destination in but]
    if only is not None:
        which.append(_goes_to(only))
    statement = _claiming(_is_sent(), *which) if which else _CLAIM_ANY
    return _claim(tx, statement, limit, seconds, size)


def claim_deferred(tx: Tx, seconds: float, *, but: Collection[str]) -> Claim:
    """Claim the deferred message that is due longest, of any partner but these, for `seconds`, and count an attempt."""
    statement = _claiming(_IS_DEFERRED, _partner().not_in(but)) if but else _CLAIM_DEFERRED
    return _claim(tx, statement, 1, seconds, AT_ONCE_BYTES)


def read(tx: Tx, claimed: Claim) -> list[OutboxRow]:
    """The rows that are still in this claim, oldest due first."""
    if not claimed.ids:
        return []
    rows = tx.execute(_READ, {"ids": claimed.ids, "token": claimed.token}).all()
    detach_if_large(tx, sum(len(row.body) for row in rows))
    return [
        OutboxRow(
            id=row.id,
            message_id=row.message_id,
            attempts=row.attempts,
            exchange=row.exchange,
            routing_key=row.routing_key,
            properties=amqp.loads(row.properties_json),
            body=row.body,
            partner_id=row.partner_id,
            push_id=row.push_id,
        )
        for row in rows
    ]


_READ = (
    select(outbox)
    .where(any_of(outbox.c.id, "ids"), outbox.c.claim_token == bindparam("token"))
    .order_by(outbox.c.not_before, outbox.c.id)
)


def extend(tx: Tx, claimed: Claim, seconds: float) -> None:
    """Keep these rows claimed for another `seconds`: their handlers are still at work."""
    tx.execute(update(outbox).where(*_in_claim(claimed)).values(claim_until=db_now(seconds)))


def delete(tx: Tx, ids: Collection[int]) -> None:
    """Delete rows, as their messages have arrived."""
    if ids:
        tx.execute(_DELETE, {"ids": list(ids)})


_DELETE = sql_delete(outbox).where(any_of(outbox.c.id, "ids"))


def retry(tx: Tx, claimed: Claim, *, after: float) -> None:
    """Give up the claim after failed attempts; the rows are due again `after` seconds from now."""
    free = {"claim_token": None, "claim_until": None}
    tx.execute(update(outbox).where(*_in_claim(claimed)).values(**free, not_before=db_now(after)))


def retry_alone(tx: Tx, claimed: Claim, *, after: float) -> None:
    """Hold rows after a failed attempt for `after` seconds; then each is claimed alone, as one may be the cause."""
    tx.execute(update(outbox).where(*_in_claim(claimed)).values(claim_until=db_now(after)))


def release(tx: Tx, claimed: Claim) -> None:
    """Give up the claim without an attempt, for an outage or a full queue; the rows stay due as they were."""
    free = {"claim_token": None, "claim_until": None}
    if claimed.ids:
        tx.execute(update(outbox).where(*_in_claim(claimed)).values(**free, attempts=outbox.c.attempts - 1))


def withdraw(tx: Tx, message_ids: Sequence[str]) -> None:
    """Delete these messages unless a relay has claimed them."""
    if message_ids:
        ours = (outbox.c.exchange == EXCHANGE_OUT, outbox.c.message_id.in_(message_ids))
        tx.execute(sql_delete(outbox).where(*ours, outbox.c.claim_token.is_(None)))


def new_row(exchange: str, routing_key: str, properties: dict[str, Any], body: bytes) -> OutboxRow:
    """A row that is not stored yet; `properties` are AMQP's by name."""
    return OutboxRow(0, str(properties["message_id"]), 0, exchange, routing_key, properties, body)


def properties_of(wire: Wire) -> dict[str, Any]:
    """AMQP's properties by name, as JSON can hold them."""
    return dict(vars(wire.properties))


def _claim(tx: Tx, claiming: ReturningUpdate[int], limit: int, seconds: float, size: int) -> Claim:
    token = str(uuid4())
    given = {"new_token": token, "limit": limit, "seconds": seconds, "most": size}
    return Claim(token, list(tx.execute(claiming, given).scalars()))


def _claiming(*which: ColumnElement[bool]) -> ReturningUpdate[int]:
    """Claim the oldest due rows. One whose claim expired is claimed alone: it may have killed its holder."""
    # Both databases know the length of a body without reading it.
    size = (func.length(outbox.c.body) + func.length(outbox.c.properties_json)).label("size")
    oldest = (
        select(outbox.c.id, outbox.c.not_before, outbox.c.claim_token, size)
        .where(*which, *_is_free())
        .order_by(outbox.c.not_before, outbox.c.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
    # PostgreSQL may evaluate a subquery again for each row, which breaks its limit; a CTE is evaluated once.
    candidates = oldest.cte("candidates")
    order = (candidates.c.not_before, candidates.c.id)
    suspect = case((candidates.c.claim_token.is_not(None), 1), else_=0)
    counted = select(
        candidates.c.id,
        func.row_number().over(order_by=order).label("number"),
        func.sum(candidates.c.size).over(order_by=order).label("bytes"),
        func.sum(suspect).over(order_by=order).label("suspects"),
    ).cte("counted")
    fits = and_(counted.c.bytes <= bindparam("most"), counted.c.suspects == 0)
    chosen = select(counted.c.id).where(or_(counted.c.number == 1, fits)).cte("chosen")
    return (
        update(outbox)
        .where(outbox.c.id.in_(select(chosen.c.id)))
        .values(
            claim_token=bindparam("new_token"),
            claim_until=db_now(bindparam("seconds")),
            attempts=outbox.c.attempts + 1,
        )
        .returning(outbox.c.id)
    )


def _values(row: OutboxRow) -> dict[str, Any]:
    return {
        # A sender chooses the message id freely; the properties hold it unchanged.
        "message_id": storable(row.message_id)[:128],
        "exchange": row.exchange,
        "routing_key": row.routing_key,
        "properties_json": amqp.dumps(row.properties),
        "body": row.body,
        "partner_id": row.partner_id,
        "push_id": row.push_id,
    }


def _in_claim(claimed: Claim) -> tuple[ColumnElement[bool], ...]:
    """A condition for the rows of a claim that no other worker has taken over."""
    return outbox.c.id.in_(claimed.ids), outbox.c.claim_token == claimed.token


def _is_free(at: ColumnElement[datetime] | None = None) -> tuple[ColumnElement[bool], ...]:
    at = db_now() if at is None else at
    return (outbox.c.not_before <= at, or_(outbox.c.claim_token.is_(None), outbox.c.claim_until < at))


def _is_sent() -> ColumnElement[bool]:
    """A condition: the message is for the broker, and no result that a completion counts is still here."""
    earlier = outbox.alias("earlier")
    counted = and_(
        earlier.c.partner_id == outbox.c.partner_id,
        earlier.c.push_id == outbox.c.push_id,
        earlier.c.id < outbox.c.id,
    )
    in_turn = or_(outbox.c.routing_key != _COMPLETION, ~select(earlier.c.id).where(counted).exists())
    return and_(outbox.c.exchange != _DEFERRED, in_turn)


def _goes_to(destination: Destination) -> ColumnElement[bool]:
    return and_(outbox.c.exchange == destination[0], outbox.c.routing_key == destination[1])


def _partner() -> ColumnElement[str]:
    return func.coalesce(outbox.c.partner_id, "")


_IS_DEFERRED = outbox.c.exchange == _DEFERRED
_CLAIM_ANY = _claiming(_is_sent())
_CLAIM_DEFERRED = _claiming(_IS_DEFERRED)

"""The outbox: everything that leaves, now or later, written in the transaction of the work."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, or_, select, update
from sqlalchemy import delete as sql_delete

from messages import EXCHANGE_IN, EXCHANGE_OUT, OUTPUTS, Message, Wire, encode
from store import amqp_properties as amqp
from store.bulk import insert_many
from store.database import AT_ONCE_BYTES, Tx, db_now, detach_if_large, now
from store.dead_letters import storable
from store.schema import EXCHANGE_DEFERRED, outbox

EXCHANGE_REPLIES = "connectwise.replies"
"""No exchange of the broker's: the routing key is the whole name of the queue of somebody who waits."""

_EXCHANGES = dict.fromkeys(OUTPUTS, EXCHANGE_OUT)
# In the text of the statement, so that PostgreSQL knows which of the partial indexes serves it.
_DEFERRED = literal(EXCHANGE_DEFERRED, literal_execute=True)

Destination = tuple[str, str]
"""(exchange, routing key)"""


@dataclass(frozen=True)
class OutboxRow:
    """A message on its way out; `attempts` counts this try too. `partner_id`: whose turn a deferred one takes."""

    id: int
    message_id: str
    attempts: int
    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: bytes
    partner_id: str | None = None


@dataclass(frozen=True)
class Claim:
    """Rows that are this worker's for a while. Their bodies are read once the claim is committed."""

    token: str
    ids: list[int]


def put(tx: Tx, *messages: Message, not_before: datetime | None = None) -> None:
    """Let these messages leave when the transaction commits, or at `not_before`."""
    put_rows(tx, [row_of(message) for message in messages], not_before=not_before)


def put_reply(tx: Tx, message: Message, queue: str) -> None:
    """Let this message leave to the queue of who asked, when the transaction commits."""
    wire = encode(message)
    put_rows(tx, [new_row(EXCHANGE_REPLIES, queue, properties_of(wire), wire.body)])


def row_of(message: Message) -> OutboxRow:
    """The message as a row that is not in the table yet, with the exchange that its kind leaves by."""
    wire = encode(message)
    exchange = _EXCHANGES.get(type(message), EXCHANGE_IN)
    return new_row(exchange, wire.routing_key, properties_of(wire), wire.body)


def put_rows(tx: Tx, rows: Sequence[OutboxRow], *, not_before: datetime | None = None) -> None:
    """Let bytes leave as they are."""
    at = now(tx) if not_before is None else not_before
    put_each(tx, [(row, at) for row in rows])


def put_each(tx: Tx, rows: Sequence[tuple[OutboxRow, datetime]]) -> None:
    """Let bytes leave as they are, each at its own time."""
    if rows:
        insert_many(tx, outbox, [{**_values(row), "not_before": at} for row, at in rows])
        detach_if_large(tx, sum(len(row.body) for row, _ in rows))


def defer(tx: Tx, rows: Sequence[tuple[OutboxRow, float]]) -> None:
    """Keep messages for a worker to handle, each after its own number of seconds; `routing_key` is their queue."""
    at = now(tx)
    put_each(tx, [(row, at + timedelta(seconds=seconds)) for row, seconds in rows])


def due_keys(tx: Tx) -> list[Destination]:
    """(exchange, routing key) of what is due to leave and free."""
    query = select(outbox.c.exchange, outbox.c.routing_key).where(_leaves(), *_is_free()).distinct()
    return [(exchange, key) for exchange, key in tx.execute(query)]


def holds_correlation_id(tx: Tx, correlation_id: str) -> bool:
    """True if a message with this correlation id waits to leave."""
    said = outbox.c.properties_json.contains(json.dumps(correlation_id), autoescape=True)
    return tx.execute(select(outbox.c.id).where(said).limit(1)).first() is not None


def claim(
    tx: Tx,
    limit: int,
    seconds: float,
    *,
    size: int = AT_ONCE_BYTES,
    only: Destination | None = None,
    but: Iterable[Destination] = (),
) -> Claim:
    """Take rows that are due to leave for `seconds`, each counted as a try; nobody else sees them meanwhile.

    At most `limit` rows and `size` bytes, the oldest due first; a single row may be larger. `only` restricts to one
    destination, `but` leaves some out.
    """
    which = [_leaves(), *(not_(_goes_to(destination)) for destination in but)]
    if only is not None:
        which.append(_goes_to(only))
    return _claim(tx, seconds, _oldest(which, limit), size)


def claim_deferred(tx: Tx, seconds: float, *, but: Collection[str]) -> Claim:
    """Take the deferred message, of any partner but these, whose turn came first; a try, for `seconds`."""
    which = [outbox.c.exchange == _DEFERRED, _partner().not_in(but)]
    return _claim(tx, seconds, _oldest(which, 1), AT_ONCE_BYTES)


def read(tx: Tx, claimed: Claim) -> list[OutboxRow]:
    """The rows of a claim, as far as they are still its own, oldest due first."""
    if not claimed.ids:
        return []
    rows = tx.execute(select(outbox).where(*_are(claimed)).order_by(outbox.c.not_before, outbox.c.id)).all()
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
        )
        for row in rows
    ]


def extend(tx: Tx, claimed: Claim, seconds: float) -> None:
    """Keep these rows claimed for another `seconds`: their handlers are still at work."""
    tx.execute(update(outbox).where(*_are(claimed)).values(claim_until=db_now(seconds)))


def delete(tx: Tx, ids: Collection[int]) -> None:
    """These have arrived."""
    tx.execute(sql_delete(outbox).where(outbox.c.id.in_(ids)))


def retry(tx: Tx, claimed: Claim, *, after: float) -> None:
    """These were tried in vain: let somebody try again `after` seconds."""
    free = {"claim_token": None, "claim_until": None}
    tx.execute(update(outbox).where(*_are(claimed)).values(**free, not_before=db_now(after)))


def retry_alone(tx: Tx, claimed: Claim, *, after: float) -> None:
    """These were tried in vain, and spoil what is beside them: each is claimed alone, `after` seconds from now."""
    tx.execute(update(outbox).where(*_are(claimed)).values(claim_until=db_now(after)))


def release(tx: Tx, claimed: Claim) -> None:
    """Nobody tried these, so they stay where they were: it was an outage, or their queue is full."""
    free = {"claim_token": None, "claim_until": None}
    tx.execute(update(outbox).where(*_are(claimed)).values(**free, attempts=outbox.c.attempts - 1))


def withdraw(tx: Tx, message_ids: Sequence[str]) -> None:
    """Let these messages not leave, unless a relay has them already."""
    if message_ids:
        ours = (outbox.c.exchange == EXCHANGE_OUT, outbox.c.message_id.in_(message_ids))
        tx.execute(sql_delete(outbox).where(*ours, outbox.c.claim_token.is_(None)))


def new_row(exchange: str, routing_key: str, properties: dict[str, Any], body: bytes) -> OutboxRow:
    """A row that is not in the table yet; `properties` are AMQP's, by their names."""
    return OutboxRow(0, str(properties["message_id"]), 0, exchange, routing_key, properties, body)


def properties_of(wire: Wire) -> dict[str, Any]:
    """AMQP's properties by their names, as JSON can keep them."""
    return dict(vars(wire.properties))


def _claim(tx: Tx, seconds: float, oldest: Select[Any], size: int) -> Claim:
    """Claim the beginning of these rows. One whose claim ran out is claimed alone: its holder may have died of it."""
    # CTEs are evaluated once; PostgreSQL may evaluate a subquery anew for each row, and its limit means nothing then.
    some = oldest.cte("some")
    order = (some.c.not_before, some.c.id)
    in_doubt = case((some.c.claim_token.is_not(None), 1), else_=0)
    counted = select(
        some.c.id,
        func.row_number().over(order_by=order).label("number"),
        func.sum(some.c.size).over(order_by=order).label("bytes"),
        func.sum(in_doubt).over(order_by=order).label("in_doubt"),
    ).cte("counted")
    fits = and_(counted.c.bytes <= size, counted.c.in_doubt == 0)
    chosen = select(counted.c.id).where(or_(counted.c.number == 1, fits)).cte("chosen")
    token = str(uuid4())
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(select(chosen.c.id)))
        .values(claim_token=token, claim_until=db_now(seconds), attempts=outbox.c.attempts + 1)
        .returning(outbox.c.id)
    )
    return Claim(token, list(tx.execute(taken).scalars()))


def _oldest(which: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    # The length of a body is known without reading it, in both databases.
    size = (func.length(outbox.c.body) + func.length(outbox.c.properties_json)).label("size")
    return (
        select(outbox.c.id, outbox.c.not_before, outbox.c.claim_token, size)
        .where(*which, *_is_free())
        .order_by(outbox.c.not_before, outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def _values(row: OutboxRow) -> dict[str, Any]:
    return {
        # A sender may name its message as it likes; the properties keep the name unharmed.
        "message_id": storable(row.message_id)[:128],
        "exchange": row.exchange,
        "routing_key": row.routing_key,
        "properties_json": amqp.dumps(row.properties),
        "body": row.body,
        "partner_id": row.partner_id,
    }


def _are(claimed: Claim) -> tuple[ColumnElement[bool], ...]:
    """The rows of a claim that nobody else has taken over."""
    return outbox.c.id.in_(claimed.ids), outbox.c.claim_token == claimed.token


def _is_free() -> tuple[ColumnElement[bool], ...]:
    free = or_(outbox.c.claim_token.is_(None), outbox.c.claim_until < db_now())
    return (outbox.c.not_before <= db_now(), free)


def _leaves() -> ColumnElement[bool]:
    return outbox.c.exchange != _DEFERRED


def _goes_to(destination: Destination) -> ColumnElement[bool]:
    return and_(outbox.c.exchange == destination[0], outbox.c.routing_key == destination[1])


def _partner() -> ColumnElement[str]:
    return func.coalesce(outbox.c.partner_id, "")

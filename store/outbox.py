"""The outbox: everything that leaves, now or later, written in the transaction of the work."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy import delete as sql_delete

from messages import EXCHANGE_IN, EXCHANGE_OUT, INPUTS, OUTPUTS, Message, Wire, encode
from store import properties as amqp
from store.database import Tx, carried, db_now, now
from store.dead_letters import storable
from store.schema import outbox

EXCHANGE_INTERNAL = "connectwise.internal"
"""Where the worker's wake-up calls to itself go: nobody else binds to it."""

EXCHANGE_REPLIES = "connectwise.replies"
"""No exchange of the broker's: the routing key is the whole name of the queue of somebody who waits."""

_EXCHANGES = dict.fromkeys(INPUTS, EXCHANGE_IN) | dict.fromkeys(OUTPUTS, EXCHANGE_OUT)


@dataclass(frozen=True)
class OutboxRow:
    """A message on its way out; `attempts` counts this try too."""

    id: int
    message_id: str
    attempts: int
    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: bytes


def put(tx: Tx, *messages: Message, not_before: datetime | None = None) -> None:
    """Let these messages leave when the transaction commits, or at `not_before`."""
    put_rows(tx, [row_of(message) for message in messages], not_before=not_before)


def put_reply(tx: Tx, message: Message, queue: str) -> None:
    """Let this message leave to the queue of who asked, when the transaction commits."""
    wire = encode(message)
    put_rows(tx, [row(EXCHANGE_REPLIES, queue, properties_of(wire), wire.body)])


def row_of(message: Message) -> OutboxRow:
    """The message as a row that is not in the table yet, with the exchange that its kind leaves by."""
    wire = encode(message)
    exchange = _EXCHANGES.get(type(message), EXCHANGE_INTERNAL)
    return row(exchange, wire.routing_key, properties_of(wire), wire.body)


def put_rows(tx: Tx, rows: Sequence[OutboxRow], *, not_before: datetime | None = None) -> None:
    """Let bytes leave as they are."""
    if not rows:
        return
    leaves = insert(outbox).values(not_before=db_now() if not_before is None else not_before)
    tx.execute(leaves, [_values(row) for row in rows])


def put_later(tx: Tx, rows: Sequence[tuple[OutboxRow, float]]) -> None:
    """Let bytes leave as they are, each after its own number of seconds."""
    at = now(tx)
    tx.execute(
        insert(outbox),
        [{**_values(row), "not_before": at + timedelta(seconds=seconds)} for row, seconds in rows],
    )
    carried(tx, sum(len(row.body) for row, _ in rows))


def due_keys(tx: Tx) -> list[tuple[str, str]]:
    """(exchange, routing key) of what is due and free."""
    query = select(outbox.c.exchange, outbox.c.routing_key).where(*_is_free()).distinct()
    return [(exchange, key) for exchange, key in tx.execute(query)]


def claim(tx: Tx, limit: int, seconds: float, *, only: tuple[str, str] | None = None) -> tuple[str, list[OutboxRow]]:
    """Take due rows for `seconds`, each counted as a try; nobody else sees them meanwhile.

    `only` restricts to one (exchange, routing key). Returns the claim's token and the rows, oldest due first.
    """
    token = str(uuid4())
    free = (
        select(outbox.c.id)
        .where(*_is_free())
        .order_by(outbox.c.not_before, outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if only is not None:
        free = free.where(outbox.c.exchange == only[0], outbox.c.routing_key == only[1])
    # As a CTE it is evaluated once; PostgreSQL may evaluate a subquery anew for each row, and its limit means nothing.
    chosen = free.cte("chosen")
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(select(chosen.c.id)))
        .values(claim_token=token, claim_until=db_now(seconds), attempts=outbox.c.attempts + 1)
        .returning(outbox)
    )
    rows = sorted(tx.execute(taken), key=lambda row: (row.not_before, row.id))
    carried(tx, sum(len(row.body) for row in rows))
    return token, [
        OutboxRow(
            id=row.id,
            message_id=row.message_id,
            attempts=row.attempts,
            exchange=row.exchange,
            routing_key=row.routing_key,
            properties=amqp.loads(row.properties_json),
            body=row.body,
        )
        for row in rows
    ]


def extend(tx: Tx, token: str, ids: Collection[int], seconds: float) -> None:
    """Keep these rows claimed for another `seconds`: their handlers are still at work."""
    tx.execute(
        update(outbox).where(outbox.c.id.in_(ids), outbox.c.claim_token == token).values(claim_until=db_now(seconds))
    )


def delete(tx: Tx, ids: Collection[int]) -> None:
    """These have arrived."""
    tx.execute(sql_delete(outbox).where(outbox.c.id.in_(ids)))


def give_back(tx: Tx, ids: Collection[int], *, after: float = 0.0, tried: bool) -> None:
    """Let somebody take these again `after` seconds; `tried` False = that claim was no try of theirs (an outage)."""
    tx.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids))
        .values(
            claim_token=None,
            claim_until=None,
            not_before=db_now(after),
            attempts=outbox.c.attempts - (0 if tried else 1),
        )
    )


def row(exchange: str, routing_key: str, properties: dict[str, Any], body: bytes) -> OutboxRow:
    """A row that is not in the table yet; `properties` are AMQP's, by their names."""
    return OutboxRow(0, str(properties["message_id"]), 0, exchange, routing_key, properties, body)


def _values(row: OutboxRow) -> dict[str, Any]:
    return {
        # A sender may name its message as it likes; the properties keep the name unharmed.
        "message_id": storable(row.message_id)[:128],
        "exchange": row.exchange,
        "routing_key": row.routing_key,
        "properties_json": amqp.dumps(row.properties),
        "body": row.body,
    }


def _is_free() -> tuple[ColumnElement[bool], ...]:
    free = or_(outbox.c.claim_token.is_(None), outbox.c.claim_until < db_now())
    return (outbox.c.not_before <= db_now(), free)


def properties_of(wire: Wire) -> dict[str, Any]:
    """AMQP's properties by their names, as JSON can keep them."""
    return asdict(wire.properties)

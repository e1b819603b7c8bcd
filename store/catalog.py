"""Catalog questions (the choices of a drop-down), their answers, and a cache of what ConnectWise listed."""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Integer, Row, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from store.database import Tx, detach_if_large, now, upsert
from store.schema import catalog_cache, catalog_questions

READ_AT_ONCE = 500
# Bytes of a question's JSON. One that names thousands of companies takes ten times as many once it is decoded.
LARGE_QUESTION = 64 * 1024


@dataclass(frozen=True)
class Cached:
    """The records that ConnectWise listed for one drop-down, as lines of text, and the time of reading."""

    fetched_at: datetime
    text: str


@dataclass(frozen=True)
class Question:
    """A `catalog.requested`: `event` is its JSON until it is answered, `answer` the JSON of its `catalog.listed`."""

    partner_id: str
    message_id: str
    asked_at: datetime
    event: str | None
    answer: str | None = None


class QuestionCount(NamedTuple):
    """The number of questions that have arrived, and of those that are answered."""

    arrived: int
    answered: int


def cached(tx: Tx, partner_id: str, tenant: str, keys: Collection[str]) -> dict[str, Cached]:
    """Return the cached lists under these keys, however old."""
    lists: dict[str, Cached] = {}
    for batch in _batches(sorted(keys)):
        query = select(catalog_cache).where(
            catalog_cache.c.partner_id == partner_id,
            catalog_cache.c.tenant == tenant,
            catalog_cache.c.cache_key.in_(batch),
        )
        rows = tx.execute(query).all()
        detach_if_large(tx, sum(len(row.choices) for row in rows))
        lists |= {row.cache_key: Cached(row.fetched_at, zlib.decompress(row.choices).decode()) for row in rows}
    return lists


def keep(tx: Tx, partner_id: str, tenant: str, fetched: Mapping[str, Cached]) -> None:
    """Cache these lists, in place of the earlier ones."""
    for batch in _batches(sorted(fetched)):
        of_tenant = (catalog_cache.c.partner_id == partner_id, catalog_cache.c.tenant == tenant)
        tx.execute(delete(catalog_cache).where(*of_tenant, catalog_cache.c.cache_key.in_(batch)))
        choices = {key: zlib.compress(fetched[key].text.encode()) for key in batch}
        owner = {"partner_id": partner_id, "tenant": tenant}
        rows = [{"cache_key": key, "fetched_at": fetched[key].fetched_at, "choices": choices[key]} for key in batch]
        tx.execute(insert(catalog_cache), [owner | row for row in rows])
        detach_if_large(tx, sum(map(len, choices.values())))


def forget(tx: Tx, partner_id: str) -> None:
    """Drop the cache: another connection may see other records, even in the same ConnectWise."""
    tx.execute(delete(catalog_cache).where(catalog_cache.c.partner_id == partner_id))


def ask(tx: Tx, partner_id: str, message_id: str, event: str) -> Question | None:
    """Store a question, due at once. Asked again: the stored one if it is answered, None if it still waits."""
    at = now(tx)
    values = {"partner_id": partner_id, "message_id": message_id, "asked_at": at, "event_json": event, "due_at": at}
    new = upsert(tx, catalog_questions).values(values).on_conflict_do_nothing()
    if tx.execute(new.returning(catalog_questions.c.message_id)).first() is not None:
        return Question(partner_id, message_id, at, event)
    known = find(tx, partner_id, message_id)
    return known if known is not None and known.answer is not None else None


class _octets(FunctionElement[int]):  # noqa: N801 - reads as the SQL function it is
    """The bytes of a text, which PostgreSQL knows without reading it."""

    type = Integer()
    inherit_cache = True


@compiles(_octets, "postgresql")
def _octets_postgresql(element: _octets, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"octet_length({compiler.process(element.clauses, **kw)})"


@compiles(_octets, "sqlite")
def _octets_sqlite(element: _octets, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"length(CAST({compiler.process(element.clauses, **kw)} AS BLOB))"


_ORDER = (catalog_questions.c.due_at, catalog_questions.c.message_id)
_IS_LARGE = _octets(catalog_questions.c.event_json) > LARGE_QUESTION
_WAITING = (
    select(
        catalog_questions.c.message_id,
        _IS_LARGE.label("is_large"),
        func.row_number().over(partition_by=_IS_LARGE, order_by=_ORDER).label("number"),
    )
    .where(catalog_questions.c.partner_id == bindparam("partner"), catalog_questions.c.due_at.is_not(None))
    .cte("waiting")
)
_CHOSEN = select(_WAITING.c.message_id).where(
    or_(_WAITING.c.number == 1, and_(~_WAITING.c.is_large, _WAITING.c.number <= bindparam("limit")))
)
_DUE = (
    select(catalog_questions)
    .where(catalog_questions.c.partner_id == bindparam("partner"), catalog_questions.c.message_id.in_(_CHOSEN))
    .order_by(*_ORDER)
)


def due(tx: Tx, partner_id: str, limit: int) -> list[Question]:
    """Unanswered questions, the oldest first; of large ones the oldest only, as all are in memory together."""
    return [_question(row) for row in tx.execute(_DUE, {"partner": partner_id, "limit": limit})]


def find(tx: Tx, partner_id: str, message_id: str) -> Question | None:
    """The question with this id, or None."""
    query = select(catalog_questions).where(
        catalog_questions.c.partner_id == partner_id, catalog_questions.c.message_id == message_id
    )
    row = tx.execute(query).first()
    return None if row is None else _question(row)


def count_answered(tx: Tx, partner_id: str, message_ids: Collection[str]) -> QuestionCount:
    """Count these questions."""
    query = select(func.count(), func.count(catalog_questions.c.answer_json)).where(
        catalog_questions.c.partner_id == partner_id, catalog_questions.c.message_id.in_(message_ids)
    )
    arrived, answered = tx.execute(query).one()
    return QuestionCount(arrived, answered)


def answer(tx: Tx, partner_id: str, message_id: str, answer_json: str) -> bool:
    """Store the answer; False = the question was answered before."""
    statement = (
        update(catalog_questions)
        .where(
            catalog_questions.c.partner_id == partner_id,
            catalog_questions.c.message_id == message_id,
            catalog_questions.c.due_at.is_not(None),
        )
        .values(answer_json=answer_json, event_json=None, due_at=None)
    )
    return tx.execute(statement).rowcount == 1


def _batches(keys: list[str]) -> list[list[str]]:
    """Split keys, since a statement takes a limited number of values."""
    return [keys[start : start + READ_AT_ONCE] for start in range(0, len(keys), READ_AT_ONCE)]


def _question(row: Row[tuple[object, ...]]) -> Question:
    return Question(row.partner_id, row.message_id, row.asked_at, row.event_json, row.answer_json)

"""Questions for the choices of drop-downs, their answers, and what ConnectWise offered some minutes ago."""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, delete, func, insert, select, update

from store.database import Tx, detach_if_large, now, upsert
from store.schema import catalog_cache, catalog_questions

READ_AT_ONCE = 500


@dataclass(frozen=True)
class Cached:
    """The records read from ConnectWise for one drop-down, in lines of text, and the time of reading."""

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


def cached(tx: Tx, partner_id: str, tenant: str, keys: Collection[str]) -> dict[str, Cached]:
    """Return the lists that are kept under these keys, however old."""
    found: dict[str, Cached] = {}
    for some in _some(sorted(keys)):
        query = select(catalog_cache).where(
            catalog_cache.c.partner_id == partner_id,
            catalog_cache.c.tenant == tenant,
            catalog_cache.c.cache_key.in_(some),
        )
        rows = tx.execute(query).all()
        detach_if_large(tx, sum(len(row.choices) for row in rows))
        found |= {row.cache_key: Cached(row.fetched_at, zlib.decompress(row.choices).decode()) for row in rows}
    return found


def keep(tx: Tx, partner_id: str, tenant: str, fetched: Mapping[str, Cached]) -> None:
    """Keep what was read, in the place of what was read before."""
    for some in _some(sorted(fetched)):
        its = (catalog_cache.c.partner_id == partner_id, catalog_cache.c.tenant == tenant)
        tx.execute(delete(catalog_cache).where(*its, catalog_cache.c.cache_key.in_(some)))
        small = {key: zlib.compress(fetched[key].text.encode()) for key in some}
        whose = {"partner_id": partner_id, "tenant": tenant}
        rows = [{"cache_key": key, "fetched_at": fetched[key].fetched_at, "choices": small[key]} for key in some]
        tx.execute(insert(catalog_cache), [whose | row for row in rows])
        detach_if_large(tx, sum(map(len, small.values())))


def forget(tx: Tx, partner_id: str) -> None:
    """Drop what was read: another connection may see other records, even of the same ConnectWise."""
    tx.execute(delete(catalog_cache).where(catalog_cache.c.partner_id == partner_id))


def ask(tx: Tx, partner_id: str, message_id: str, event: str) -> Question | None:
    """Keep a question, due at once; the kept one if it was asked before and is answered, None if it still waits."""
    at = now(tx)
    values = {"partner_id": partner_id, "message_id": message_id, "asked_at": at, "event_json": event, "due_at": at}
    new = upsert(tx, catalog_questions).values(values).on_conflict_do_nothing()
    if tx.execute(new.returning(catalog_questions.c.message_id)).first() is not None:
        return Question(partner_id, message_id, at, event)
    known = find(tx, partner_id, message_id)
    return known if known is not None and known.answer is not None else None


def due(tx: Tx, partner_id: str, limit: int) -> list[Question]:
    """Questions that wait for an answer, the oldest first."""
    query = (
        select(catalog_questions)
        .where(catalog_questions.c.partner_id == partner_id, catalog_questions.c.due_at.is_not(None))
        .order_by(catalog_questions.c.due_at, catalog_questions.c.message_id)
        .limit(limit)
    )
    return [_question(row) for row in tx.execute(query)]


def find(tx: Tx, partner_id: str, message_id: str) -> Question | None:
    """One question."""
    query = select(catalog_questions).where(
        catalog_questions.c.partner_id == partner_id, catalog_questions.c.message_id == message_id
    )
    row = tx.execute(query).first()
    return None if row is None else _question(row)


def count_answered(tx: Tx, partner_id: str, message_ids: Collection[str]) -> tuple[int, int]:
    """Return the number of these questions that have come, and the number of those that are answered."""
    query = select(func.count(), func.count(catalog_questions.c.answer_json)).where(
        catalog_questions.c.partner_id == partner_id, catalog_questions.c.message_id.in_(message_ids)
    )
    come, done = tx.execute(query).one()
    return come, done


def answer(tx: Tx, partner_id: str, message_id: str, answer_json: str) -> bool:
    """Keep the answer; False = it was answered before."""
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


def _some(keys: list[str]) -> list[list[str]]:
    """A few at a time: a statement takes a limited number of values."""
    return [keys[start : start + READ_AT_ONCE] for start in range(0, len(keys), READ_AT_ONCE)]


def _question(row: Row[tuple[object, ...]]) -> Question:
    return Question(row.partner_id, row.message_id, row.asked_at, row.event_json, row.answer_json)

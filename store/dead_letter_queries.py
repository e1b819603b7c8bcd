"""Queries of dead letters: one letter, those that match a filter, and groups by cause."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, func, literal, select, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from store import amqp_properties as amqp
from store.database import AT_ONCE_BYTES, Tx, moment
from store.schema import dead_letters, operation_letters


@dataclass(frozen=True)
class DeadLetterFilter:
    """A filter of dead letters; a field that is None or empty restricts nothing.

    `since` and `until` limit the time of the last failure: a time, or so long ago. `text` is in the error, in small or
    large letters (of A to Z). `operation`: those that this operation has carried out.
    """

    ids: tuple[str, ...] = ()
    partner_id: str | None = None
    kind: str | None = None
    reason: str | None = None
    fingerprint: str | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    state: str | None = None
    text: str | None = None
    operation: str | None = None


@dataclass(frozen=True)
class DeadLetterSummary:
    """A dead letter without its body. `returns`: how often it came back after a replay."""

    id: str
    partner_id: str | None
    message_id: str | None
    kind: str | None
    queue: str
    exchange: str | None
    reason: str
    error: str
    error_type: str | None
    error_at: str
    fingerprint: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    state: str
    replays: int
    returns: int
    applied: int


@dataclass(frozen=True)
class StoredDeadLetter(DeadLetterSummary):
    """A dead letter in full; `history` lists the actions on it, oldest first: at, what, by, why, …"""

    properties: dict[str, Any]
    body: bytes
    sealed_with: str | None
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class DeadLetterGroup:
    """Dead letters of one cause; `example` is the error of one of them, `kind` is None if they have several."""

    fingerprint: str
    reason: str
    kind: str | None
    error_type: str | None
    error_at: str
    count: int
    partners: int
    since: datetime
    last: datetime
    example: str


STATES = ("open", "replayed", "discarded")
_SUMMARY = [dead_letters.c[name] for name in DeadLetterSummary.__dataclass_fields__]


def newest(
    tx: Tx, letters: DeadLetterFilter, limit: int, before: tuple[datetime, str] | None = None
) -> list[DeadLetterSummary]:
    """The newest letters that match, without their bodies; `before`: (last failure, id) of the last one of a page."""
    key = (dead_letters.c.last_failed_at, dead_letters.c.id)
    query = select(*_SUMMARY).where(*conditions(letters))
    if before is not None:
        query = query.where(tuple_(*key) < tuple_(*before))
    query = query.order_by(*(column.desc() for column in key)).limit(limit)
    return [DeadLetterSummary(**row) for row in tx.execute(query).mappings()]


def next_newer(tx: Tx, letters: DeadLetterFilter, after: tuple[datetime, str]) -> str | None:
    """The id of the letter before this key (last failure, id) in the list of the newest; None = it is the first."""
    key = (dead_letters.c.last_failed_at, dead_letters.c.id)
    query = select(dead_letters.c.id).where(*conditions(letters), tuple_(*key) > tuple_(*after))
    return tx.execute(query.order_by(*key).limit(1)).scalar()


def ids(tx: Tx, letters: DeadLetterFilter, limit: int | None = None) -> list[str]:
    """The ids of the letters that match, oldest first: the order of replays."""
    query = select(dead_letters.c.id).where(*conditions(letters))
    return list(tx.execute(query.order_by(dead_letters.c.first_failed_at, dead_letters.c.id).limit(limit)).scalars())


def count(tx: Tx, letters: DeadLetterFilter) -> int:
    """The number of letters that match."""
    return tx.execute(select(func.count()).select_from(dead_letters).where(*conditions(letters))).scalar_one()


def ids_beginning_with(tx: Tx, prefix: str) -> list[str]:
    """Up to two ids with this prefix: if there is one, the prefix names a dead letter."""
    beginning = func.substr(dead_letters.c.id, 1, len(prefix)) == prefix.lower()
    return list(tx.execute(select(dead_letters.c.id).where(beginning).limit(2)).scalars())


def get(tx: Tx, letter_id: str, *, lock: bool = False) -> StoredDeadLetter | None:
    """One letter in full, or None; `lock` keeps others from changing it until the transaction ends."""
    query = select(dead_letters).where(dead_letters.c.id == letter_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _letter(row)


def first_that_fit(tx: Tx, letter_ids: Sequence[str]) -> Sequence[str]:
    """The first of these ids whose bodies together have at most AT_ONCE_BYTES; at least one."""
    table = dead_letters.c
    query = select(table.id, func.length(table.body)).where(table.id.in_(letter_ids))
    sizes: dict[str, int] = dict(tx.execute(query).all())
    totals = accumulate(sizes.get(letter_id, 0) for letter_id in letter_ids)
    return letter_ids[: max(1, sum(total <= AT_ONCE_BYTES for total in totals))]


def get_many(tx: Tx, letter_ids: Sequence[str]) -> list[StoredDeadLetter]:
    """These letters in full, in this order. Bodies are large: limit the ids by `first_that_fit`."""
    rows = tx.execute(select(dead_letters).where(dead_letters.c.id.in_(letter_ids))).mappings()
    letters = {row["id"]: _letter(row) for row in rows}
    return [letters[letter_id] for letter_id in letter_ids if letter_id in letters]


def page(
    tx: Tx, letters: DeadLetterFilter, limit: int, before: tuple[datetime, str] | None = None
) -> tuple[list[DeadLetterSummary], int]:
    """The newest letters that match, as of `newest`, and the number of all that match."""
    if letters.text is None:
        return newest(tx, letters, limit, before), count(tx, letters)
    # No index finds a text in the errors, so all are read, but only once.
    key = (dead_letters.c.last_failed_at, dead_letters.c.id)
    matching = select(*key, func.count().over().label("number")).where(*conditions(letters)).subquery()
    query = select(matching.c.id, matching.c.number)
    if before is not None:
        query = query.where(tuple_(matching.c.last_failed_at, matching.c.id) < tuple_(*before))
    query = query.order_by(matching.c.last_failed_at.desc(), matching.c.id.desc()).limit(limit)
    found = tx.execute(query).all()
    if not found:
        return [], 0 if before is None else count(tx, letters)
    return newest(tx, DeadLetterFilter(ids=tuple(row.id for row in found)), limit), found[0].number


def groups(tx: Tx, letters: DeadLetterFilter) -> list[DeadLetterGroup]:
    """The letters that match, grouped by cause, the most frequent first."""
    table, where = dead_letters.c, conditions(letters)
    # All letters of a fingerprint have the same cause.
    query = select(
        table.fingerprint,
        *(func.min(column).label(column.name) for column in (table.reason, table.error_type, table.error_at)),
        func.min(table.kind).label("kind"),
        func.max(table.kind).label("last_kind"),
        func.count().label("letters"),
        func.min(table.first_failed_at).label("since"),
        func.max(table.last_failed_at).label("last"),
        func.max(table.error).label("example"),
    ).where(*where)
    query = query.group_by(table.fingerprint).order_by(func.count().desc(), table.fingerprint)
    # Counted apart: counting distinct values beside the others takes PostgreSQL many times longer.
    pairs = select(table.fingerprint, table.partner_id).where(*where, table.partner_id.is_not(None)).distinct()
    of_partners = pairs.subquery()
    per_group = select(of_partners.c.fingerprint, func.count()).group_by(of_partners.c.fingerprint)
    partners: dict[str, int] = dict(tx.execute(per_group).all())
    return [
        DeadLetterGroup(
            fingerprint=row.fingerprint,
            reason=row.reason,
            kind=row.kind if row.kind == row.last_kind else None,
            error_type=row.error_type,
            error_at=row.error_at,
            count=row.letters,
            partners=partners.get(row.fingerprint, 0),
            since=row.since,
            last=row.last,
            example=row.example,
        )
        for row in tx.execute(query)
    ]


def choices(tx: Tx, state: str | None) -> dict[str, list[str]]:
    """The kinds and reasons that letters in this state have, for a list to choose from; None = in any state."""
    pairs = {
        (kind, reason)
        for one in (STATES if state is None else (state,))
        for kind, reason in tx.execute(_CHOICES, {"state": one})
    }
    return {
        "kind": sorted({kind for kind, _ in pairs if kind is not None}),
        "reason": sorted({reason for _, reason in pairs}),
    }


def _next(column: ColumnElement[str], *where: ColumnElement[bool]) -> Any:  # noqa: ANN401 - a Select of one value
    return select(func.min(column)).where(dead_letters.c.state == bindparam("state"), *where).scalar_subquery()


def _distinct() -> Any:  # noqa: ANN401 - a Select of two columns
    """Each kind and reason by jumps from one to the next in their index: short, however many letters there are."""
    table = dead_letters.c
    first = select(_next(table.reason).label("reason")).cte("reasons", recursive=True)
    reasons = first.union_all(
        select(_next(table.reason, table.reason > first.c.reason)).where(first.c.reason.is_not(None))
    )
    kind = _next(table.kind, table.reason == reasons.c.reason).label("kind")
    begun = select(reasons.c.reason, kind).where(reasons.c.reason.is_not(None)).cte("pairs", recursive=True)
    following = _next(table.kind, table.reason == begun.c.reason, table.kind > begun.c.kind)
    pairs = begun.union_all(select(begun.c.reason, following).where(begun.c.kind.is_not(None)))
    return select(pairs.c.kind, pairs.c.reason)


_CHOICES = _distinct()


class _small(FunctionElement[str]):  # noqa: N801 - reads as the SQL function it is
    """The text with A to Z in small letters; all letters of all languages would take PostgreSQL twice as long."""

    type = Text()
    inherit_cache = True


@compiles(_small, "postgresql")
def _small_postgresql(element: _small, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f'lower({compiler.process(element.clauses, **kw)} COLLATE "C")'


@compiles(_small, "sqlite")
def _small_sqlite(element: _small, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"lower({compiler.process(element.clauses, **kw)})"


def conditions(letters: DeadLetterFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on dead_letters."""
    table = dead_letters.c
    equal = {
        table.partner_id: letters.partner_id,
        table.kind: letters.kind,
        table.reason: letters.reason,
        table.fingerprint: letters.fingerprint,
        table.state: letters.state,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if letters.ids:
        conditions.append(table.id.in_(letters.ids))
    if letters.since is not None:
        conditions.append(table.last_failed_at >= moment(letters.since))
    if letters.until is not None:
        conditions.append(table.last_failed_at < moment(letters.until))
    if letters.text is not None:
        conditions.append(_small(table.error).like(_small(literal(f"%{_escaped(letters.text)}%")), escape="\\"))
    if letters.operation is not None:
        mine = (operation_letters.c.operation_id == letters.operation, operation_letters.c.state == "done")
        conditions.append(table.id.in_(select(operation_letters.c.letter_id).where(*mine)))
    return conditions


def _escaped(text: str) -> str:
    """The text for LIKE, in which each character stands for itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _letter(row: Any) -> StoredDeadLetter:  # noqa: ANN401 - a row of dead_letters
    values = {
        name: row[name] for name in StoredDeadLetter.__dataclass_fields__ if name not in {"properties", "history"}
    }
    return StoredDeadLetter(
        **values, properties=amqp.loads(row["properties_json"]), history=json.loads(row["history_json"])
    )

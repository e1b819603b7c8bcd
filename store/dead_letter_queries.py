"""Looking at dead letters: one, those that a filter names, and groups of one cause."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, func, select

from store import amqp_properties as amqp
from store.database import AT_ONCE_BYTES, Tx, moment
from store.schema import dead_letters


@dataclass(frozen=True)
class DeadLetterFilter:
    """A choice of dead letters; a field that is None or empty restricts nothing.

    `since` and `until` are of the last failure: a time, or so long ago.
    """

    ids: tuple[str, ...] = ()
    partner_id: str | None = None
    kind: str | None = None
    reason: str | None = None
    fingerprint: str | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    state: str | None = None


@dataclass(frozen=True)
class DeadLetterSummary:
    """A dead letter in a list. `returns` = how often it came back after a replay."""

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
    """All of a dead letter; `history` is what was done with it, oldest first: at, what, by, why, …"""

    properties: dict[str, Any]
    body: bytes
    sealed_with: str | None
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class DeadLetterGroup:
    """Dead letters of one cause; `example` is the error of one of them, `kind` that of all, or None."""

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


_SUMMARY = [dead_letters.c[name] for name in DeadLetterSummary.__dataclass_fields__]


def of_ids(which: DeadLetterFilter, letter_ids: tuple[str, ...]) -> DeadLetterFilter:
    """The same, of these letters alone; none given restricts nothing."""
    return replace(which, ids=letter_ids)


def newest(tx: Tx, which: DeadLetterFilter, limit: int) -> list[DeadLetterSummary]:
    """The newest of them, without their bodies."""
    query = select(*_SUMMARY).where(*_conditions(which))
    query = query.order_by(dead_letters.c.last_failed_at.desc(), dead_letters.c.id).limit(limit)
    return [DeadLetterSummary(**row) for row in tx.execute(query).mappings()]


def ids(tx: Tx, which: DeadLetterFilter, limit: int | None = None) -> list[str]:
    """Their ids, oldest first: the order of replays."""
    query = select(dead_letters.c.id).where(*_conditions(which))
    return list(tx.execute(query.order_by(dead_letters.c.first_failed_at, dead_letters.c.id).limit(limit)).scalars())


def count(tx: Tx, which: DeadLetterFilter) -> int:
    """Return the number of dead letters that the filter lets through."""
    return tx.execute(select(func.count()).select_from(dead_letters).where(*_conditions(which))).scalar_one()


def ids_beginning_with(tx: Tx, prefix: str) -> list[str]:
    """Up to two ids that begin so: one that is unique names a dead letter."""
    beginning = func.substr(dead_letters.c.id, 1, len(prefix)) == prefix.lower()
    return list(tx.execute(select(dead_letters.c.id).where(beginning).limit(2)).scalars())


def get(tx: Tx, letter_id: str, *, lock: bool = False) -> StoredDeadLetter | None:
    """All of one, or None; `lock` keeps others from changing it until the transaction ends."""
    query = select(dead_letters).where(dead_letters.c.id == letter_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _kept(row)


def first_that_fit(tx: Tx, letter_ids: Sequence[str]) -> Sequence[str]:
    """The first of these, as many as have AT_ONCE_BYTES in their bodies together; at least one."""
    table = dead_letters.c
    query = select(table.id, func.length(table.body)).where(table.id.in_(letter_ids))
    sizes: dict[str, int] = dict(tx.execute(query).all())
    totals = accumulate(sizes.get(letter_id, 0) for letter_id in letter_ids)
    return letter_ids[: max(1, sum(total <= AT_ONCE_BYTES for total in totals))]


def get_many(tx: Tx, letter_ids: Sequence[str]) -> list[StoredDeadLetter]:
    """All of these, in this order. Bodies are large: ask for what `first_of` names."""
    rows = tx.execute(select(dead_letters).where(dead_letters.c.id.in_(letter_ids))).mappings()
    found = {row["id"]: _kept(row) for row in rows}
    return [found[letter_id] for letter_id in letter_ids if letter_id in found]


def groups(tx: Tx, which: DeadLetterFilter) -> list[DeadLetterGroup]:
    """By cause, the most frequent first."""
    table = dead_letters.c
    cause = (table.fingerprint, table.reason, table.error_type, table.error_at)
    query = (
        select(
            *cause,
            func.min(table.kind).label("kind"),
            func.count(table.kind.distinct()).label("kinds"),
            func.count().label("letters"),
            func.count(table.partner_id.distinct()).label("partners"),
            func.min(table.first_failed_at).label("since"),
            func.max(table.last_failed_at).label("last"),
            func.max(table.error).label("example"),
        )
        .where(*_conditions(which))
        .group_by(*cause)
        .order_by(func.count().desc(), table.fingerprint)
    )
    return [
        DeadLetterGroup(
            fingerprint=row.fingerprint,
            reason=row.reason,
            kind=row.kind if row.kinds == 1 else None,
            error_type=row.error_type,
            error_at=row.error_at,
            count=row.letters,
            partners=row.partners,
            since=row.since,
            last=row.last,
            example=row.example,
        )
        for row in tx.execute(query)
    ]


def _conditions(which: DeadLetterFilter) -> list[ColumnElement[bool]]:
    table = dead_letters.c
    equal = {
        table.partner_id: which.partner_id,
        table.kind: which.kind,
        table.reason: which.reason,
        table.fingerprint: which.fingerprint,
        table.state: which.state,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if which.ids:
        conditions.append(table.id.in_(which.ids))
    if which.since is not None:
        conditions.append(table.last_failed_at >= moment(which.since))
    if which.until is not None:
        conditions.append(table.last_failed_at < moment(which.until))
    return conditions


def _kept(row: Any) -> StoredDeadLetter:  # noqa: ANN401 - a row of dead_letters
    values = {
        name: row[name] for name in StoredDeadLetter.__dataclass_fields__ if name not in {"properties", "history"}
    }
    return StoredDeadLetter(
        **values, properties=amqp.loads(row["properties_json"]), history=json.loads(row["history_json"])
    )

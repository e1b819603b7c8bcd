"""Insert and update many rows with few statements: they are sent as JSON, a thousand at a time."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    FromClause,
    Insert,
    LargeBinary,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.types import TypeEngine

from store.database import Tx, insert_of

AT_ONCE = 1000
FEW = 20
"""Up to this many rows are sent one by one, so that large values are not held in memory twice."""

Row = dict[str, Any]


def insert_many(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    if _are_sent_singly(tx, table, rows):
        tx.execute(insert(table), rows)
        return
    statement = _insert_given(tx.dialect.name, table, tuple(rows[0]))
    for piece in in_pieces(tx, rows):
        tx.execute(statement, {"rows": piece})


Upsert = postgresql.Insert | sqlite.Insert
"""An INSERT that supports ON CONFLICT."""


def upsert_many(
    tx: Tx, table: Table, rows: Sequence[Row], on_conflict: Callable[[Upsert, Sequence[str]], Upsert]
) -> None:
    """Insert rows that all have the same columns; `on_conflict` adds to the statement what becomes of known ones.

    `on_conflict` is called once for each table and set of columns, with the names of these.
    """
    if not rows:
        return
    dialect, names = tx.dialect.name, tuple(rows[0])
    if _are_sent_singly(tx, table, rows):
        tx.execute(_upsert_each(dialect, table, names, on_conflict), rows)
        return
    statement = _upsert_given(dialect, table, names, on_conflict)
    for piece in in_pieces(tx, rows):
        tx.execute(statement, {"rows": piece})


def update_many(tx: Tx, table: Table, key: Sequence[str], rows: Sequence[Row]) -> None:
    """Update rows that all have the same columns, those of the key among them, each where its key is."""
    if not rows:
        return
    names = tuple(rows[0])
    if _are_sent_singly(tx, table, rows):
        values = [{f"b_{name}": value for name, value in row.items()} for row in rows]
        tx.execute(_update_each(table, tuple(key), names), values)
        return
    statement = _update_given(tx.dialect.name, table, tuple(key), names)
    for piece in in_pieces(tx, rows):
        tx.execute(statement, {"rows": piece})


def _are_sent_singly(tx: Tx, table: Table, rows: Sequence[Row]) -> bool:
    # SQLite reads no bytes from JSON.
    has_bytes = any(isinstance(table.c[name].type, LargeBinary) for name in rows[0])
    return len(rows) <= FEW or (has_bytes and tx.dialect.name == "sqlite")


# Built once for each dialect, table and set of columns, not at each execution.


@cache
def _insert_given(dialect: str, table: Table, names: tuple[str, ...]) -> Insert:
    return insert(table).from_select(names, select(_given(dialect, table, names)))


@cache
def _upsert_each(
    dialect: str, table: Table, names: tuple[str, ...], on_conflict: Callable[[Upsert, Sequence[str]], Upsert]
) -> Upsert:
    return on_conflict(insert_of(dialect, table), names)


@cache
def _upsert_given(
    dialect: str, table: Table, names: tuple[str, ...], on_conflict: Callable[[Upsert, Sequence[str]], Upsert]
) -> Upsert:
    # Without a condition SQLite takes ON CONFLICT for the ON of a join.
    rows = select(_given(dialect, table, names)).where(true())
    return on_conflict(insert_of(dialect, table).from_select(names, rows), names)


@cache
def _update_each(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    which = [table.c[name] == bindparam(f"b_{name}") for name in key]
    return update(table).where(*which).values({name: bindparam(f"b_{name}") for name in names if name not in key})


@cache
def _update_given(dialect: str, table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    rows = _given(dialect, table, names)
    which = [table.c[name] == rows.c[name] for name in key]
    return update(table).where(*which).values({name: rows.c[name] for name in names if name not in key})


def _given(dialect: str, table: Table, names: Sequence[str]) -> FromClause:
    return given(dialect, {name: table.c[name].type for name in names})


def given(dialect: str, types: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """The parameter `rows`, a piece of `in_pieces`, as a table with columns of these types."""
    rows = bindparam("rows", type_=Text)
    if dialect == "sqlite":
        row = func.json_each(rows).table_valued("value", name="each").c.value
        return select(*(func.json_extract(row, f"$.{name}").label(name) for name in types)).subquery("given")
    columns = [column(name, type_) for name, type_ in types.items()]
    return func.json_to_recordset(cast(rows, JSON)).table_valued(*columns, name="given").render_derived(with_types=True)


def in_pieces(tx: Tx, rows: Sequence[Row]) -> Iterator[str]:
    """Rows as JSON, a thousand at a time, as the database reads it. Raises ValueError for a text with a NUL."""
    as_text = _as_text_of_sqlite if tx.dialect.name == "sqlite" else _as_text
    for start in range(0, len(rows), AT_ONCE):
        piece = json.dumps(rows[start : start + AT_ONCE], default=as_text)
        if _NUL.search(piece):
            # PostgreSQL refuses it; SQLite would end the text there.
            raise ValueError("a text with a NUL character cannot be stored")
        yield piece


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _as_text(value: object) -> str:
    """Write a value that JSON cannot hold as PostgreSQL reads it."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, date):  # a datetime is one too
        return _iso(value)
    raise TypeError(f"no way to send {type(value).__name__}")


def _as_text_of_sqlite(value: object) -> str:
    """Write a time as the store keeps it in SQLite: text that sorts, in UTC."""
    return _stored(value) if isinstance(value, datetime) else _as_text(value)


# Rows that are stored together mostly have the same times.


@lru_cache(maxsize=16)
def _iso(value: date) -> str:
    return value.isoformat()


@lru_cache(maxsize=16)
def _stored(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"

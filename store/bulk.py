"""Insert and update many rows with few statements. On PostgreSQL rows are sent as JSON, one round trip per piece."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, Text, Update, bindparam, cast, column, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.selectable import TableValuedAlias

from store.database import Tx, insert_of

AT_ONCE = 1000
FEW = 20
"""Up to this many rows are sent one by one, so that large values are not held in memory twice."""

Row = Mapping[str, Any]


def insert_many(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    if len(rows) <= FEW or tx.dialect.name != "postgresql":
        tx.execute(insert(table), [dict(row) for row in rows])
        return
    statement = _insert_given(table, tuple(rows[0]))
    for piece in _pieces(rows):
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
    if len(rows) <= FEW or dialect != "postgresql":
        tx.execute(_upsert_each(dialect, table, names, on_conflict), [dict(row) for row in rows])
        return
    statement = _upsert_given(table, names, on_conflict)
    for piece in _pieces(rows):
        tx.execute(statement, {"rows": piece})


def update_many(tx: Tx, table: Table, key: Sequence[str], rows: Sequence[Row]) -> None:
    """Update rows that all have the same columns, those of the key among them, each where its key is."""
    if not rows:
        return
    names = tuple(rows[0])
    if len(rows) <= FEW or tx.dialect.name != "postgresql":
        values = [{f"b_{name}": value for name, value in row.items()} for row in rows]
        tx.execute(_update_each(table, tuple(key), names), values)
        return
    statement = _update_given(table, tuple(key), names)
    for piece in _pieces(rows):
        tx.execute(statement, {"rows": piece})


# Built once for each table and set of columns, not at each execution.


@cache
def _insert_given(table: Table, names: tuple[str, ...]) -> Insert:
    return insert(table).from_select(names, select(_given(table, names)))


@cache
def _upsert_each(
    dialect: str, table: Table, names: tuple[str, ...], on_conflict: Callable[[Upsert, Sequence[str]], Upsert]
) -> Upsert:
    return on_conflict(insert_of(dialect, table), names)


@cache
def _upsert_given(
    table: Table, names: tuple[str, ...], on_conflict: Callable[[Upsert, Sequence[str]], Upsert]
) -> Upsert:
    given = postgresql.insert(table).from_select(names, select(_given(table, names)))
    return on_conflict(given, names)


@cache
def _update_each(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    which = [table.c[name] == bindparam(f"b_{name}") for name in key]
    return update(table).where(*which).values({name: bindparam(f"b_{name}") for name in names if name not in key})


@cache
def _update_given(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    given = _given(table, names)
    which = [table.c[name] == given.c[name] for name in key]
    return update(table).where(*which).values({name: given.c[name] for name in names if name not in key})


def _given(table: Table, names: Sequence[str]) -> TableValuedAlias:
    """The parameter `rows` as a table with these columns."""
    columns = [column(name, table.c[name].type) for name in names]
    rows = cast(bindparam("rows", type_=Text), JSON)
    return func.json_to_recordset(rows).table_valued(*columns, name="given").render_derived(with_types=True)


def _pieces(rows: Sequence[Row]) -> Iterator[str]:
    for start in range(0, len(rows), AT_ONCE):
        yield json.dumps([dict(row) for row in rows[start : start + AT_ONCE]], default=_as_text)


def _as_text(value: object) -> str:
    """Write a value that JSON cannot hold as PostgreSQL reads it."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    raise TypeError(f"no way to send {type(value).__name__}")

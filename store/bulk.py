"""Insert and update many rows at once. PostgreSQL is sent them as JSON, a thousand a statement."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    Insert,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

from store.bulk_sqlite import execute_many
from store.database import Tx, insert_of

AT_ONCE = 1000
FEW = 20
"""Up to this many rows are sent one by one, so that large values are not held in memory twice."""

Row = dict[str, Any]


def insert_many(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    names = tuple(rows[0])
    if len(rows) <= FEW:
        tx.execute(insert(table), rows)
    elif tx.dialect.name == "sqlite":
        execute_many(tx, _insert_each(table), _types(table, names), rows)
    else:
        _send(tx, _insert_given(table, names), rows)


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
    if len(rows) <= FEW:
        tx.execute(_upsert_each(dialect, table, names, on_conflict), rows)
    elif dialect == "sqlite":
        execute_many(tx, _upsert_each(dialect, table, names, on_conflict), _types(table, names), rows)
    else:
        _send(tx, _upsert_given(table, names, on_conflict), rows)


def update_many(tx: Tx, table: Table, key: Sequence[str], rows: Sequence[Row]) -> None:
    """Update rows that all have the same columns, those of the key among them, each where its key is."""
    if not rows:
        return
    names = tuple(rows[0])
    if len(rows) > FEW and tx.dialect.name == "postgresql":
        _send(tx, _update_given(table, tuple(key), names), rows)
        return
    statement = _update_each(table, tuple(key), names)
    values = [{f"b_{name}": value for name, value in row.items()} for row in rows]
    if len(rows) <= FEW:
        tx.execute(statement, values)
    else:
        execute_many(tx, statement, {f"b_{name}": table.c[name].type for name in names}, values)


def _send(tx: Tx, statement: Insert | Update, rows: Sequence[Row]) -> None:
    for piece in in_pieces(rows):
        tx.execute(statement, {"rows": piece})


# Built once for each table and set of columns, not at each execution.


@cache
def _insert_each(table: Table) -> Insert:
    return insert(table)


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
    return on_conflict(postgresql.insert(table).from_select(names, select(_given(table, names))), names)


@cache
def _update_each(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    which = [table.c[name] == bindparam(f"b_{name}") for name in key]
    return update(table).where(*which).values({name: bindparam(f"b_{name}") for name in names if name not in key})


@cache
def _update_given(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    rows = _given(table, names)
    which = [table.c[name] == rows.c[name] for name in key]
    return update(table).where(*which).values({name: rows.c[name] for name in names if name not in key})


def _types(table: Table, names: Sequence[str]) -> dict[str, TypeEngine[Any]]:
    return {name: table.c[name].type for name in names}


def _given(table: Table, names: Sequence[str]) -> TableValuedAlias:
    return given(_types(table, names))


def given(types: Mapping[str, TypeEngine[Any]]) -> TableValuedAlias:
    """The parameter `rows`, a piece of `in_pieces`, as a table of PostgreSQL with columns of these types."""
    columns = [column(name, type_) for name, type_ in types.items()]
    rows = cast(bindparam("rows", type_=Text), JSON)
    return func.json_to_recordset(rows).table_valued(*columns, name="given").render_derived(with_types=True)


def in_pieces(rows: Sequence[Row]) -> Iterator[str]:
    """Rows as JSON for PostgreSQL, a thousand at a time."""
    for start in range(0, len(rows), AT_ONCE):
        yield json.dumps(rows[start : start + AT_ONCE], default=_as_text)


def _as_text(value: object) -> str:
    """Write a value that JSON cannot hold as PostgreSQL reads it."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, date):  # a datetime is one too
        return _iso(value)
    raise TypeError(f"no way to send {type(value).__name__}")


@lru_cache(maxsize=16)
def _iso(value: date) -> str:
    return value.isoformat()

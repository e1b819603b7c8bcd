"""Many rows at once for SQLite, whose driver is given values as it stores them.

SQLAlchemy's handling of each value takes longer than SQLite with all of them, and others wait for SQLite's only writer.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Date, Insert, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from store.database import Tx
from store.schema import UtcTime

DIALECT = sqlite.dialect()

Convert = Callable[[Any], Any]


def execute_many(
    tx: Tx, statement: Insert | Update, types: Mapping[str, TypeEngine[Any]], rows: Sequence[dict[str, Any]]
) -> None:
    """Execute a statement for each of these rows, whose values by parameter name are of these types."""
    text, names, constants = _compiled(statement, tuple(types))
    columns = [(name, _converter(types[name]) if name in types else None) for name in names]
    values = [
        tuple(
            [
                constants[name] if name in constants else row[name] if convert is None else convert(row[name])
                for name, convert in columns
            ]
        )
        for row in rows
    ]
    tx.exec_driver_sql(text, values)


@cache
def _compiled(statement: Insert | Update, names: tuple[str, ...]) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """Return the text, the names of its parameters in their order, and the values of those that no row gives."""
    compiled = statement.compile(dialect=DIALECT, column_keys=list(names))
    constants = {name: value for name, value in compiled.params.items() if name not in names}
    return str(compiled), tuple(compiled.positiontup or ()), constants


def _converter(type_: TypeEngine[Any]) -> Convert | None:
    convert = type_.dialect_impl(DIALECT).bind_processor(DIALECT)
    if convert is not None and isinstance(type_, UtcTime | Date):
        # Rows that are stored together mostly have the same times.
        return lru_cache(maxsize=16)(convert)
    return convert

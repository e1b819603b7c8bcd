"""Many rows at once for SQLite, whose driver is given values as it stores them.

SQLAlchemy's handling of each value takes longer than SQLite with all of them, and others wait for SQLite's only writer.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import repeat
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
    # Column by column, as Python takes fewer steps for that than row by row.
    columns = [
        repeat(constants[name], len(rows)) if name in constants else _column(types[name], [row[name] for row in rows])
        for name in names
    ]
    tx.exec_driver_sql(text, list(zip(*columns, strict=True)))


def _column(type_: TypeEngine[Any], values: list[Any]) -> list[Any]:
    convert = _converter(type_)
    return values if convert is None else list(map(convert, values))


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

"""Conditions on a list of values, or of pairs, whose text is the same however long the list: it is prepared once."""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Integer,
    String,
    Text,
    TypeDecorator,
    bindparam,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class _Values(TypeDecorator[Collection[Any]]):
    """An array on PostgreSQL, a JSON array on SQLite."""

    impl = Text
    cache_ok = True

    def __init__(self, *, are_numbers: bool) -> None:
        super().__init__()
        self.are_numbers = are_numbers

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(ARRAY(BigInteger() if self.are_numbers else String()))

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:  # noqa: ANN401 - a driver's
        values = list(value or ())
        return values if dialect.name == "postgresql" else json.dumps(values)


class _Pairs(TypeDecorator[Collection[tuple[int, int]]]):
    """A JSON array of arrays."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Collection[tuple[int, int]] | None, _dialect: Dialect) -> str:
        return json.dumps(list(value or ()))


class _Condition(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:  # noqa: ANN401, ARG002 - SQLAlchemy's
        """Return it as it is: SQLAlchemy would compare it with 1 for SQLite, which then uses no index."""
        return self


class any_of(_Condition):  # noqa: N801 - reads as the SQL operator it is
    """True if the column has one of the values that are given by this name when the statement is executed."""

    inherit_cache = True

    def __init__(self, column: Column[Any], name: str) -> None:
        super().__init__(column, bindparam(name, type_=_Values(are_numbers=isinstance(column.type, Integer))))


class any_pair(_Condition):  # noqa: N801 - reads as the SQL operator it is
    """True if two columns of numbers hold one of the pairs that are given by this name at the execution."""

    inherit_cache = True

    def __init__(self, columns: tuple[Column[Any], Column[Any]], name: str) -> None:
        super().__init__(*columns, bindparam(name, type_=_Pairs()))


@compiles(any_of, "postgresql")
def _any_of_postgresql(element: any_of, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    column, values = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({column} = ANY ({values}))"


@compiles(any_of, "sqlite")
def _any_of_sqlite(element: any_of, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    column, values = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({values})))"  # noqa: S608 - both are SQLAlchemy's own text


@compiles(any_pair, "postgresql")
def _any_pair_postgresql(element: any_pair, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    first, second, pairs = (compiler.process(clause, **kw) for clause in element.clauses)
    given = f"SELECT (pair->>0)::bigint, (pair->>1)::bigint FROM json_array_elements(({pairs})::json) pair"  # noqa: S608 - SQLAlchemy's own text
    return f"(({first}, {second}) IN ({given}))"


@compiles(any_pair, "sqlite")
def _any_pair_sqlite(element: any_pair, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    first, second, pairs = (compiler.process(clause, **kw) for clause in element.clauses)
    given = f"SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each({pairs})"  # noqa: S608 - SQLAlchemy's own text
    return f"(({first}, {second}) IN ({given}))"

"""Reading operators' actions: what runs now, what was done, and why some of it was refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import and_, func, literal, or_, select, tuple_

from store.database import Tx, db_now
from store.schema import operation_letters, operations

Kind = Literal["replay", "discard", "restore", "pause", "resume", "cancel"]
Origin = Literal["page", "command"]
"""The place where it was begun. A page's is taken over by other pages when its process ends; a command's is not."""


@dataclass(frozen=True)
class Operation:
    """An action with its outcome. Counts are of dead letters, but `overtaken` and `failed`, which are lines of pushes.

    `sent`: replayed, and not decided yet. `interrupted`: it runs, but the process that carried it out is gone.
    `chosen`: what it was begun for, by names of `DeadLetterFilter`, or others for those that concern no dead letters.
    """

    id: str
    kind: Kind
    origin: Origin
    begun_by: str
    why: str | None
    partner_id: str | None
    chosen: dict[str, Any]
    begun_at: datetime
    ended_at: datetime | None
    state: str
    stopped_why: str | None
    stop_by: str | None
    history: list[dict[str, Any]]
    rate: float | None
    batch_seconds: float
    step: int
    total: int
    sent: int
    done: int
    came_back: int
    refused: int
    overtaken: int
    failed: int
    interrupted: bool

    @property
    def left(self) -> int:
        """The dead letters that it has not come to."""
        return self.total - self.sent - self.done - self.came_back - self.refused


@dataclass(frozen=True)
class OperationLetter:
    """A dead letter of an operation; see the table."""

    position: int
    letter_id: str
    state: str
    number: int | None = None
    returns_before: int | None = None
    overtaken: int = 0
    failed: int = 0
    problem: str | None = None


_LETTER = [operation_letters.c[name] for name in OperationLetter.__dataclass_fields__]
_READ = select(
    operations,
    and_(
        operations.c.state == "running",
        func.coalesce(operations.c.claim_until < db_now(), literal(value=True)),
        or_(operations.c.origin != "page", operations.c.claim_token.is_not(None)),
    ).label("interrupted"),
)


def find(tx: Tx, operation_id: str) -> Operation | None:
    """One operation, or None."""
    row = tx.execute(_READ.where(operations.c.id == operation_id)).mappings().first()
    return None if row is None else _operation(row)


def running(tx: Tx) -> list[Operation]:
    """Those that run, or were interrupted, oldest first."""
    query = _READ.where(operations.c.state == "running").order_by(operations.c.begun_at)
    return [_operation(row) for row in tx.execute(query).mappings()]


def newest(
    tx: Tx, limit: int, *, partner_id: str | None = None, before: tuple[datetime, str] | None = None
) -> list[Operation]:
    """The newest ones; `before`: (begun, id) of the last one of a page."""
    key = (operations.c.begun_at, operations.c.id)
    query = _READ if partner_id is None else _READ.where(operations.c.partner_id == partner_id)
    if before is not None:
        query = query.where(tuple_(*key) < tuple_(*before))
    rows = tx.execute(query.order_by(*(column.desc() for column in key)).limit(limit)).mappings()
    return [_operation(row) for row in rows]


def letters_in(tx: Tx, operation_id: str, state: str, limit: int | None = None) -> list[OperationLetter]:
    """The first letters of an operation that are in this state, in its order."""
    mine = (operation_letters.c.operation_id == operation_id, operation_letters.c.state == state)
    query = select(*_LETTER).where(*mine).order_by(operation_letters.c.position).limit(limit)
    return [OperationLetter(**row) for row in tx.execute(query).mappings()]


def problems(tx: Tx, operation_id: str, limit: int = 10) -> list[tuple[str, str, int]]:
    """Why letters were refused or came back: (state, problem, number of letters), the most frequent first."""
    table = operation_letters.c
    query = (
        select(table.state, table.problem, func.count())
        .where(table.operation_id == operation_id, table.problem.is_not(None))
        .group_by(table.state, table.problem)
        .order_by(func.count().desc(), table.problem)
    )
    return [(state, problem, number) for state, problem, number in tx.execute(query.limit(limit))]


def required(tx: Tx, operation_id: str) -> Operation:
    """One operation. Raises LookupError."""
    found = find(tx, operation_id)
    if found is None:
        raise LookupError(operation_id)
    return found


def _operation(row: Mapping[str, Any] | Any) -> Operation:  # noqa: ANN401 - a row of operations
    values = {name: row[name] for name in Operation.__dataclass_fields__ if name not in {"chosen", "history"}}
    values["interrupted"] = bool(values["interrupted"])
    return Operation(**values, chosen=json.loads(row["chosen_json"]), history=json.loads(row["history_json"]))

"""Actions of operators: who did what, when and why, with what outcome. Those on dead letters run for a while.

One process at a time has such an operation claimed, and carries it out; everybody can read how far it is.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, insert, literal, null, select, update
from uuid6 import uuid7

from store import operation_queries
from store.database import Tx, db_now, now
from store.dead_letter_queries import DeadLetterFilter, conditions
from store.operation_queries import Kind, Operation, Origin
from store.schema import dead_letters, operation_letters, operations

CLAIM_SECONDS = 30.0
NEEDED_STATE = {"replay": "open", "discard": "open", "restore": "discarded"}
"""The state that a dead letter must be in, by the kind of the operation."""

NO_QUEUE = "it names no queue of ours"


_COUNTED = {"sent": "sent", "done": "done", "came back": "came_back", "refused": "refused"}


def begin(
    tx: Tx,
    kind: Kind,
    letters: DeadLetterFilter,
    *,
    by: str,
    why: str | None,
    origin: Origin,
    token: str | None = None,
    queues: Collection[str] = (),
    limit: int | None = None,
    rate: float | None = None,
    batch_seconds: float = 60.0,
) -> Operation:
    """Begin an operation on the dead letters that match now, oldest first; `limit` counts those that it can be done to.

    Those that are in another state, or for a replay name no exchange and none of the `queues`, are refused at once.
    `token`: the claim of the caller, who carries it out; None = whoever claims it.
    """
    table, problem = dead_letters.c, _problem(kind, queues)
    where = conditions(letters)
    chosen = select(table.id, table.first_failed_at, problem.label("problem")).where(*where)
    if limit is not None:
        chosen = chosen.where(problem.is_(None)).order_by(table.first_failed_at, table.id).limit(limit)
    rows = chosen.subquery()
    operation_id = str(uuid7())
    _insert(
        tx,
        id=operation_id,
        kind=kind,
        origin=origin,
        begun_by=by,
        why=why,
        partner_id=letters.partner_id,
        chosen=chosen_by(letters),
        state="running",
        rate=rate,
        batch_seconds=batch_seconds,
        claim_token=token,
        claim_until=None if token is None else db_now(CLAIM_SECONDS),
    )
    tx.execute(
        insert(operation_letters).from_select(
            ["operation_id", "position", "letter_id", "state", "problem"],
            select(
                literal(operation_id),
                func.row_number().over(order_by=(rows.c.first_failed_at, rows.c.id)),
                rows.c.id,
                case((rows.c.problem.is_(None), "waiting"), else_="refused"),
                rows.c.problem,
            ),
        )
    )
    return count(tx, operation_id)


def outlook(
    tx: Tx, kind: Kind, letters: DeadLetterFilter, queues: Collection[str] = ()
) -> tuple[list[tuple[str, str | None, int]], dict[str, int]]:
    """Return the outlook: (reason, kind, number) of the letters that it can be done to; refusals by reason."""
    problem = _problem(kind, queues)
    cause = (dead_letters.c.reason, dead_letters.c.kind, problem.label("problem"))
    rows = tx.execute(select(*cause, func.count()).where(*conditions(letters)).group_by(*cause)).all()
    refused: dict[str, int] = {}
    for _, _, why, number in rows:
        if why is not None:
            refused[why] = refused.get(why, 0) + number
    able = [(reason, of, number) for reason, of, why, number in rows if why is None]
    return sorted(able, key=lambda one: -one[2]), refused


def _problem(kind: Kind, queues: Collection[str]) -> ColumnElement[str | None]:
    """Why it cannot be done to a letter; NULL = it can."""
    table, needed = dead_letters.c, NEEDED_STATE[kind]
    problems: list[tuple[ColumnElement[bool], ColumnElement[str]]] = [
        (table.state != needed, literal(f"it is not {needed}, but ") + table.state)
    ]
    if kind == "replay":
        problems.append((and_(table.exchange.is_(None), table.queue.not_in(queues)), literal(NO_QUEUE)))
    return case(*problems, else_=null())


def note(
    tx: Tx,
    kind: Kind,
    *,
    by: str,
    why: str | None,
    origin: Origin,
    partner_id: str | None,
    chosen: Mapping[str, Any] | None = None,
    refused: str | None = None,
) -> Operation:
    """Keep an action that is done, or was `refused` for this reason, in the transaction that does it."""
    operation_id = str(uuid7())
    _insert(
        tx,
        id=operation_id,
        kind=kind,
        origin=origin,
        begun_by=by,
        why=why,
        partner_id=partner_id,
        chosen=dict(chosen or {}),
        state="ended" if refused is None else "stopped",
        ended_at=db_now(),
        stopped_why=refused,
        batch_seconds=0.0,
        total=1,
        done=int(refused is None),
        refused=int(refused is not None),
    )
    return operation_queries.required(tx, operation_id)


def _insert(tx: Tx, *, chosen: dict[str, Any], total: int = 0, **values: object) -> None:
    row = {**values, "chosen_json": json.dumps(chosen), "begun_at": db_now(), "total": total}
    tx.execute(insert(operations).values(row))


def chosen_by(letters: DeadLetterFilter) -> dict[str, Any]:
    """The filter as JSON: what it restricts, ids only by their number if they are many."""
    given = {name: getattr(letters, name) for name in DeadLetterFilter.__dataclass_fields__}
    named = {name: str(value) for name, value in given.items() if value is not None and name != "ids"}
    if not letters.ids:
        return named
    return named | ({"ids": list(letters.ids)} if len(letters.ids) <= 20 else {"number_of_ids": len(letters.ids)})


def count(tx: Tx, operation_id: str, step: int | None = None) -> Operation:
    """Count its letters by their states, for all to see; `step`: the batches that are behind it."""
    table = operation_letters.c
    query = select(table.state, func.count(), func.sum(table.overtaken), func.sum(table.failed))
    rows = tx.execute(query.where(table.operation_id == operation_id).group_by(table.state)).all()
    values: dict[str, Any] = dict.fromkeys(_COUNTED.values(), 0)
    values |= {_COUNTED[state]: number for state, number, _, _ in rows if state in _COUNTED}
    values |= {
        "total": sum(row[1] for row in rows),
        "overtaken": sum(row[2] for row in rows),
        "failed": sum(row[3] for row in rows if row[0] == "done"),
    }
    if step is not None:
        values["step"] = step
    tx.execute(update(operations).where(operations.c.id == operation_id).values(values))
    return operation_queries.required(tx, operation_id)


# --- what operators do with an operation


def ask_to_stop(tx: Tx, operation_id: str, by: str) -> bool:
    """Ask whoever carries it out to stop; one that nobody carries out stops now. Returns True if it ran."""
    found = _locked(tx, operation_id)
    if found is None or found.state != "running":
        return False
    values: dict[str, Any] = {"stop_by": by, "history_json": _more(tx, found, "stopped", by)}
    if found.interrupted:
        values |= {"state": "stopped", "stopped_why": stopped_by(by), "ended_at": db_now()}
        values |= {"claim_token": None, "claim_until": None}
    tx.execute(update(operations).where(operations.c.id == operation_id).values(values))
    return True


def stopped_by(by: str) -> str:
    """The reason of a stop that somebody asked for."""
    return f"{by} stopped it"


def go_on(tx: Tx, operation_id: str, by: str) -> bool:
    """Let a stopped or interrupted one go on, by a page, in small batches first. Returns True if it was one."""
    found = _locked(tx, operation_id)
    if found is None or not (found.interrupted or (found.state == "stopped" and found.left + found.sent)):
        return False
    values = {
        "state": "running",
        "origin": "page",
        "stopped_why": None,
        "stop_by": None,
        "ended_at": None,
        "step": 0,
        "claim_token": None,
        "claim_until": None,
        "history_json": _more(tx, found, "continued", by),
    }
    tx.execute(update(operations).where(operations.c.id == operation_id).values(values))
    return True


def _locked(tx: Tx, operation_id: str) -> Operation | None:
    tx.execute(select(operations.c.id).where(operations.c.id == operation_id).with_for_update())
    return operation_queries.find(tx, operation_id)


def _more(tx: Tx, found: Operation, what: str, by: str) -> str:
    return json.dumps([*found.history, {"at": now(tx).isoformat(), "what": what, "by": by}])

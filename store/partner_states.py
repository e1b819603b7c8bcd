"""Partners with trouble, for an operator: what keeps their work waiting, and since when."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_

from store import pauses
from store.database import Tx, db_now, now
from store.pauses import Pause
from store.pushes import Push, push_of
from store.schema import connections, dead_letters, leases, syncs
from store.schema import pushes as table

LATE_AFTER = timedelta(minutes=5)
"""A line that has been due for longer is late."""


@dataclass
class PartnerState:
    """The knowledge of a partner; None or 0 = no trouble of that kind.

    `paused`: by an operator. `waits_until` and `waits_why`: ConnectWise is left alone, for this problem's code.
    `refused`: code and title of the problem that the newest check of the connection found. `late`: since when the
    oldest line is due, if that is long. `letters`: open dead letters.
    """

    partner_id: str
    paused: Pause | None = None
    waits_until: datetime | None = None
    waits_why: str | None = None
    unreachable_since: datetime | None = None
    limited_since: datetime | None = None
    failed_runs: int = 0
    refused: tuple[str, str] | None = None
    lines: int = 0
    late: datetime | None = None
    letters: int = 0
    disconnected: bool = field(default=False)

    @property
    def has_trouble(self) -> bool:
        """True if an operator should look at it."""
        return bool(
            self.paused
            or self.waits_until
            or self.unreachable_since
            or self.limited_since
            or self.failed_runs
            or self.refused
            or self.late
            or self.letters
        )


def read(tx: Tx, partner_id: str | None = None) -> list[PartnerState]:
    """The partners of whom anything is to be told, or this one, by id."""
    found: dict[str, PartnerState] = {}

    def state(name: str) -> PartnerState:
        return found.setdefault(name, PartnerState(name))

    if partner_id is not None:
        state(partner_id)
    for pause in pauses.all_pauses(tx):
        if pause.partner_id != pauses.EVERYBODY and partner_id in {None, pause.partner_id}:
            state(pause.partner_id).paused = pause
    _read_health(tx, partner_id, state)
    at = now(tx)
    for row in tx.execute(_only(_LINES, syncs.c.partner_id, partner_id)):
        state(row.partner_id).lines = row.lines
        if row.oldest is not None and at - row.oldest > LATE_AFTER:
            state(row.partner_id).late = row.oldest
    for row in tx.execute(_only(_LETTERS, dead_letters.c.partner_id, partner_id)):
        state(row.partner_id).letters = row.letters
    for row in tx.execute(_only(_NEWEST, connections.c.partner_id, partner_id)):
        refused = _refused(row.check_json)
        if refused is not None and not row.disconnected:
            state(row.partner_id).refused = refused
        if row.disconnected and row.partner_id in found:
            state(row.partner_id).disconnected = True
    return [found[name] for name in sorted(found)]


def pushes_under_way(tx: Tx, partner_id: str) -> list[Push]:
    """The pushes of a partner that are not completed, the oldest first."""
    query = select(table).where(table.c.partner_id == partner_id, table.c.state == "accepted")
    return [push_of(row) for row in tx.execute(query.order_by(table.c.accepted_at)).mappings()]


def _read_health(tx: Tx, partner_id: str | None, state: Any) -> None:  # noqa: ANN401 - the function above
    for row in tx.execute(_only(_UNWELL, leases.c.partner_id, partner_id)):
        one = state(row.partner_id)
        one.waits_until = row.paused_until if row.waits else None
        one.waits_why = row.paused_why if row.waits else None
        one.unreachable_since, one.limited_since = row.unreachable_since, row.limited_since
        one.failed_runs = row.failed_runs


def _only(query: Any, column: ColumnElement[Any], partner_id: str | None) -> Any:  # noqa: ANN401 - a Select
    return query if partner_id is None else query.where(column == partner_id)


def _refused(check_json: str | None) -> tuple[str, str] | None:
    """The problem of a check that has failed."""
    check = json.loads(check_json) if check_json else {}
    problem = check.get("problem") if check.get("status") == "failed" else None
    return (str(problem.get("code", "")), str(problem.get("title", ""))) if isinstance(problem, dict) else None


_WAITS = func.coalesce(leases.c.paused_until > db_now(), False)
_UNWELL = select(leases, _WAITS.label("waits")).where(
    or_(
        _WAITS,
        leases.c.unreachable_since.is_not(None),
        leases.c.limited_since.is_not(None),
        leases.c.failed_runs > 0,
    )
)
_LINES = (
    select(syncs.c.partner_id, func.count().label("lines"), func.min(syncs.c.due_at).label("oldest"))
    .where(syncs.c.due_at.is_not(None))
    .group_by(syncs.c.partner_id)
)
_LETTERS = (
    select(dead_letters.c.partner_id, func.count().label("letters"))
    .where(and_(dead_letters.c.state == "open", dead_letters.c.partner_id.is_not(None)))
    .group_by(dead_letters.c.partner_id)
)
_newer = connections.alias("newer")
_NEWEST = select(connections.c.partner_id, connections.c.disconnected, connections.c.check_json).where(
    ~select(_newer.c.partner_id)
    .where(
        _newer.c.partner_id == connections.c.partner_id,
        tuple_(_newer.c.changed_at, _newer.c.message_id) > tuple_(connections.c.changed_at, connections.c.message_id),
    )
    .exists()
)

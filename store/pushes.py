"""Pushes and their lines, with the status of each line."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import BindParameter, bindparam, insert, select, tuple_, update

from messages import BillingPeriod, PushRequested, SyncMode
from store import targets
from store.any_of import any_of
from store.bulk import insert_many
from store.database import Tx
from store.mappings import Addition
from store.schema import OPEN_STATUSES, push_lines, pushes

LineKey = tuple[str, str]
"""(push id, company id)"""

MANY = 200
"""Beyond this number of lines all lines of their push are read: a long IN list is slower in PostgreSQL."""


@dataclass(frozen=True)
class Push:
    """A push as it was accepted; `reverts` is the push that it reverts (mode `revert`)."""

    partner_id: str
    push_id: str
    message_id: str
    correlation_id: str
    traceparent: str | None
    requested_at: datetime
    requested_by: str
    period: BillingPeriod
    mode: SyncMode
    connection_changed_at: datetime | None
    line_count: int
    accepted_at: datetime
    round: int
    state: str
    body_hash: str
    reverts: str | None = None


@dataclass(frozen=True)
class Restore:
    """The quantity that a revert's line restores in an addition, only if it still `holds` what was written."""

    tenant: str
    addition: Addition
    quantity: float
    holds: float


@dataclass(frozen=True)
class Line:
    """One line of a push with its status; `restore` is set only for lines of reverts."""

    push: Push
    company_id: str
    company_name: str
    billable_users: int
    mapping_changed_at: datetime | None
    confirmation: dict[str, Any] | None
    status: str = "pending"
    sequence: int = 0
    attempts: int = 0
    restore: Restore | None = None

    @property
    def key(self) -> LineKey:
        """The line's key within its partner."""
        return (self.push.push_id, self.company_id)

    @property
    def is_open(self) -> bool:
        """True until the line has its final result."""
        return self.status in OPEN_STATUSES


class Acceptance(Enum):
    """A push.requested is new, a repetition, or another one under a known push id."""

    NEW = "new"
    REPEAT = "repeat"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Accepted:
    """The outcome of `accept`: `superseded` are lines, of older pushes or of this one, that a newer target replaced."""

    acceptance: Acceptance
    superseded: list[LineKey]


def accept(tx: Tx, event: PushRequested, body_hash: str, at: datetime) -> Accepted:
    """Store a push and its lines and, for an apply, the targets that are newer than the stored ones.

    Call it inside `Database.partner(event.partner_id)`.
    """
    known = find(tx, event.partner_id, event.push_id)
    if known is not None:
        same = known.body_hash == body_hash
        return Accepted(Acceptance.REPEAT if same else Acceptance.CONFLICT, [])
    push = Push(
        partner_id=event.partner_id,
        push_id=event.push_id,
        message_id=str(event.id),
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        requested_at=event.requested_at,
        requested_by=event.requested_by,
        period=event.period,
        mode=event.mode,
        connection_changed_at=event.connection_changed_at,
        line_count=len(event.lines),
        accepted_at=at,
        round=0,
        state="accepted",
        body_hash=body_hash,
    )
    confirmations = {item.company_id: item.model_dump(mode="json") for item in event.confirmations}
    lines = [
        Line(
            push=push,
            company_id=line.company_id,
            company_name=line.company_name,
            billable_users=line.billable_users,
            mapping_changed_at=line.mapping_changed_at,
            confirmation=confirmations.get(line.company_id),
        )
        for line in event.lines
    ]
    save(tx, push, lines)
    superseded = [] if event.mode == "preview" else targets.request(tx, push, users_of(lines), at)
    return Accepted(Acceptance.NEW, superseded)


def save(tx: Tx, push: Push, lines: Iterable[Line]) -> None:
    """Insert a push that is not stored yet, and its lines."""
    values = {name: getattr(push, name) for name in Push.__dataclass_fields__ if name != "period"}
    period = {"period_start": push.period.start, "period_end": push.period.end, "period_key": push.period.key}
    tx.execute(insert(pushes).values(values | period))
    rows = [
        {
            "partner_id": push.partner_id,
            "push_id": push.push_id,
            "company_id": line.company_id,
            "company_name": line.company_name,
            "billable_users": line.billable_users,
            "mapping_changed_at": line.mapping_changed_at,
            "confirmation_json": None if line.confirmation is None else json.dumps(line.confirmation),
            "status": line.status,
            "preview_due_at": push.accepted_at if push.mode == "preview" else None,
            "restore_tenant": line.restore and line.restore.tenant,
            "restore_agreement_id": line.restore and line.restore.addition[0],
            "restore_addition_id": line.restore and line.restore.addition[1],
            "restore_quantity": None if line.restore is None else line.restore.quantity,
            "restore_holds": None if line.restore is None else line.restore.holds,
        }
        for line in sorted(lines, key=lambda line: line.company_id)
    ]
    insert_many(tx, push_lines, rows)


def users_of(lines: Iterable[Line]) -> dict[str, int]:
    """The billable users by company."""
    return {line.company_id: line.billable_users for line in lines}


def find(tx: Tx, partner_id: str, push_id: str) -> Push | None:
    """The push, or None."""
    query = select(pushes).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    row = tx.execute(query).mappings().first()
    return None if row is None else push_of(row)


def lines(tx: Tx, partner_id: str, keys: Collection[LineKey]) -> dict[LineKey, Line]:
    """These lines, by key."""
    # One query per push: PostgreSQL would compare a list of pairs one by one with every row.
    companies: dict[str, list[str]] = {}
    for push_id, company_id in sorted(keys):
        companies.setdefault(push_id, []).append(company_id)
    by_key: dict[LineKey, Line] = {}
    for push_id, company_ids in companies.items():
        which: dict[str, object] = {"partner": partner_id, "push": push_id}
        query = _OF_PUSH
        if len(company_ids) <= MANY:
            query, which["companies"] = _OF_PUSH_AND_COMPANIES, company_ids
        rows = tx.execute(query, which).mappings().all()
        push = push_of(rows[0]) if rows else None
        by_key.update((line.key, line) for line in (line_of(row, push) for row in rows))
    return {key: by_key[key] for key in keys if key in by_key}


def lines_restoring(tx: Tx, partner_id: str, push_id: str, additions: Collection[Addition]) -> list[Line]:
    """The lines of a revert that restore one of these additions, by company id."""
    which = tuple_(push_lines.c.restore_agreement_id, push_lines.c.restore_addition_id).in_(additions)
    query = line_query(partner_id).where(push_lines.c.push_id == push_id, which).order_by(push_lines.c.company_id)
    return [line_of(row) for row in tx.execute(query).mappings()]


def due_preview_lines(tx: Tx, partner_id: str, at: datetime, limit: int) -> list[Line]:
    """Due lines of previews, newest push first."""
    which = {"partner": partner_id, "at": at, "limit": limit}
    return [line_of(row) for row in tx.execute(_DUE_PREVIEWS, which).mappings()]


def postpone_preview(tx: Tx, line: Line, at: datetime) -> None:
    """Make this line of a preview, which waits for something, due at that time."""
    which = (push_lines.c.push_id == line.push.push_id, push_lines.c.company_id == line.company_id)
    mine = push_lines.c.partner_id == line.push.partner_id
    tx.execute(update(push_lines).where(mine, *which).values(preview_due_at=at))


def make_previews_due(tx: Tx, partner_id: str, at: datetime) -> None:
    """Make waiting lines of previews due, since what they may wait for has arrived."""
    waiting = (push_lines.c.partner_id == partner_id, push_lines.c.preview_due_at > at)
    tx.execute(update(push_lines).where(*waiting).values(preview_due_at=at))


def line_query(partner_id: str | BindParameter[str]) -> Any:  # noqa: ANN401 - a Select of two tables' columns
    """A query of a partner's lines, each with its push."""
    joined = (pushes.c.partner_id == push_lines.c.partner_id) & (pushes.c.push_id == push_lines.c.push_id)
    columns = [column for column in push_lines.c if column.name not in {"partner_id", "push_id", "round"}]
    return select(pushes, *columns).join(push_lines, joined).where(pushes.c.partner_id == partner_id)


_OF_PUSH = line_query(bindparam("partner")).where(push_lines.c.push_id == bindparam("push"))
_OF_PUSH_AND_COMPANIES = _OF_PUSH.where(any_of(push_lines.c.company_id, "companies"))
_DUE_PREVIEWS = (
    line_query(bindparam("partner"))
    .where(push_lines.c.preview_due_at <= bindparam("at"))
    .order_by(pushes.c.requested_at.desc(), pushes.c.push_id, push_lines.c.company_id)
    .limit(bindparam("limit"))
)


def push_of(row: Any) -> Push:  # noqa: ANN401 - a row with the columns of pushes
    """Read a push from a row."""
    return Push(
        partner_id=row["partner_id"],
        push_id=row["push_id"],
        message_id=row["message_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        requested_at=row["requested_at"],
        requested_by=row["requested_by"],
        period=BillingPeriod(start=row["period_start"], end=row["period_end"]),
        mode=row["mode"],
        connection_changed_at=row["connection_changed_at"],
        line_count=row["line_count"],
        accepted_at=row["accepted_at"],
        round=row["round"],
        state=row["state"],
        body_hash=row["body_hash"],
        reverts=row["reverts"],
    )


def line_of(row: Any, push: Push | None = None) -> Line:  # noqa: ANN401 - a row of line_query
    """Read a line from a row of `line_query`; `push` is its push, if that was read before."""
    return Line(
        push=push or push_of(row),
        company_id=row["company_id"],
        company_name=row["company_name"],
        billable_users=row["billable_users"],
        mapping_changed_at=row["mapping_changed_at"],
        confirmation=json.loads(row["confirmation_json"]) if row["confirmation_json"] else None,
        status=row["status"],
        sequence=row["sequence"],
        attempts=row["attempts"],
        restore=None if row["restore_holds"] is None else _restore(row),
    )


def _restore(row: Any) -> Restore:  # noqa: ANN401 - a row of `line_query`
    return Restore(
        tenant=row["restore_tenant"],
        addition=(row["restore_agreement_id"], row["restore_addition_id"]),
        quantity=row["restore_quantity"],
        holds=row["restore_holds"],
    )


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Split into pieces of at most this size."""
    return (items[start : start + size] for start in range(0, len(items), size))

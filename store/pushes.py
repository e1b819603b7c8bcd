"""Pushes and their lines: the questions that were asked, and the answer to each."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import insert, select, update

from messages import BillingPeriod, PushRequested
from store import wishes
from store.database import Tx
from store.schema import OPEN_STATUSES, push_lines, pushes

LineKey = tuple[str, str]
"""(push id, company id)"""


@dataclass(frozen=True)
class Push:
    """A push as it was accepted."""

    partner_id: str
    push_id: str
    message_id: str
    correlation_id: str
    traceparent: str | None
    requested_at: datetime
    requested_by: str
    period: BillingPeriod
    mode: str
    connection_changed_at: datetime | None
    line_count: int
    accepted_at: datetime
    round: int
    state: str
    body_hash: str


@dataclass(frozen=True)
class Line:
    """One line of a push and what has been said about it."""

    push: Push
    company_id: str
    company_name: str
    billable_users: int
    mapping_changed_at: datetime | None
    confirmation: dict[str, Any] | None
    status: str
    sequence: int
    attempts: int

    @property
    def key(self) -> LineKey:
        """What names the line within its partner."""
        return (self.push.push_id, self.company_id)

    @property
    def is_open(self) -> bool:
        """Whether the final answer is still owed."""
        return self.status in OPEN_STATUSES


class Acceptance(Enum):
    """What a push.requested turned out to be."""

    NEW = "new"
    REPEAT = "repeat"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Accepted:
    """The outcome of `accept`: `superseded` are lines, of older pushes or of this one, that a newer wish displaced."""

    acceptance: Acceptance
    superseded: list[LineKey]


def accept(tx: Tx, event: PushRequested, body_hash: str, at: datetime) -> Accepted:
    """Keep a push and its lines and, for an apply, upsert the wishes that are newer than the stored ones.

    Call it inside `Database.partner(event.partner_id)`.
    """
    known = find(tx, event.partner_id, event.push_id)
    if known is not None:
        same = known.body_hash == body_hash
        return Accepted(Acceptance.REPEAT if same else Acceptance.CONFLICT, [])
    tx.execute(
        insert(pushes).values(
            partner_id=event.partner_id,
            push_id=event.push_id,
            message_id=str(event.id),
            correlation_id=event.correlation_id,
            traceparent=event.traceparent,
            requested_at=event.requested_at,
            requested_by=event.requested_by,
            period_start=event.period.start,
            period_end=event.period.end,
            period_key=event.period.key,
            mode=event.mode,
            connection_changed_at=event.connection_changed_at,
            body_hash=body_hash,
            line_count=len(event.lines),
            accepted_at=at,
            state="accepted",
        )
    )
    confirmations = {item.company_id: item.model_dump(mode="json") for item in event.confirmations}
    lines = sorted(event.lines, key=lambda line: line.company_id)
    tx.execute(
        insert(push_lines),
        [
            {
                "partner_id": event.partner_id,
                "push_id": event.push_id,
                "company_id": line.company_id,
                "company_name": line.company_name,
                "billable_users": line.billable_users,
                "mapping_changed_at": line.mapping_changed_at,
                "confirmation_json": json.dumps(confirmations[line.company_id])
                if line.company_id in confirmations
                else None,
                "status": "pending",
                "preview_due_at": at if event.mode == "preview" else None,
            }
            for line in lines
        ],
    )
    superseded = [] if event.mode == "preview" else wishes.want(tx, event, lines, at)
    return Accepted(Acceptance.NEW, superseded)


def find(tx: Tx, partner_id: str, push_id: str) -> Push | None:
    """The push, or None."""
    query = select(pushes).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    row = tx.execute(query).mappings().first()
    return None if row is None else push_of(row)


def lines(tx: Tx, partner_id: str, keys: Collection[LineKey]) -> dict[LineKey, Line]:
    """These lines, by key."""
    # By push, and not as a list of pairs: PostgreSQL compares those one by one with every row.
    companies: dict[str, list[str]] = {}
    for push_id, company_id in sorted(keys):
        companies.setdefault(push_id, []).append(company_id)
    found: dict[LineKey, Line] = {}
    for push_id, company_ids in companies.items():
        for some in chunks(company_ids, 1000):
            query = line_query(partner_id).where(push_lines.c.push_id == push_id, push_lines.c.company_id.in_(some))
            found.update((line.key, line) for line in map(line_of, tx.execute(query).mappings()))
    return found


def preview_lines(tx: Tx, partner_id: str, at: datetime, limit: int) -> list[Line]:
    """Lines of due previews that have no answer yet, newest push first."""
    query = (
        line_query(partner_id)
        .where(push_lines.c.preview_due_at <= at)
        .order_by(pushes.c.requested_at.desc(), pushes.c.push_id, push_lines.c.company_id)
        .limit(limit)
    )
    return [line_of(row) for row in tx.execute(query).mappings()]


def look_at_preview(tx: Tx, line: Line, at: datetime) -> None:
    """Look at this line of a preview then; it waits for something."""
    which = (push_lines.c.push_id == line.push.push_id, push_lines.c.company_id == line.company_id)
    mine = push_lines.c.partner_id == line.push.partner_id
    tx.execute(update(push_lines).where(mine, *which).values(preview_due_at=at))


def look_now(tx: Tx, partner_id: str, at: datetime) -> None:
    """Something came that lines of previews may wait for."""
    waiting = (push_lines.c.partner_id == partner_id, push_lines.c.preview_due_at > at)
    tx.execute(update(push_lines).where(*waiting).values(preview_due_at=at))


def line_query(partner_id: str) -> Any:  # noqa: ANN401 - a Select of two tables' columns
    """Select a partner's lines, each with its push."""
    joined = (pushes.c.partner_id == push_lines.c.partner_id) & (pushes.c.push_id == push_lines.c.push_id)
    columns = [column for column in push_lines.c if column.name not in {"partner_id", "push_id", "round"}]
    return select(pushes, *columns).join(push_lines, joined).where(pushes.c.partner_id == partner_id)


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
    )


def line_of(row: Any) -> Line:  # noqa: ANN401 - a row of _line_query
    """Read a line from a row of `line_query`."""
    return Line(
        push=push_of(row),
        company_id=row["company_id"],
        company_name=row["company_name"],
        billable_users=row["billable_users"],
        mapping_changed_at=row["mapping_changed_at"],
        confirmation=json.loads(row["confirmation_json"]) if row["confirmation_json"] else None,
        status=row["status"],
        sequence=row["sequence"],
        attempts=row["attempts"],
    )


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Split into pieces of at most this size."""
    return (items[start : start + size] for start in range(0, len(items), size))

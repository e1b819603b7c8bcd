"""Counts, pushes, reverts and the connection that are newer than a push or a preview which a page shows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select

from messages import KINDS, PushRequested, RevertRequested
from store import connections
from store.connections import tenant_at
from store.database import Tx
from store.pushes import Push, find
from store.schema import portal_counts, portal_requests, push_lines, pushes


@dataclass(frozen=True)
class ImportedCount:
    """The users of a company as they are imported now; `is_newer`: imported after the push was requested."""

    company_id: str
    company_name: str
    users: int
    is_newer: bool


@dataclass(frozen=True)
class NewerLine:
    """A line of a newer push or revert; `users` None = what was written for the company is taken back."""

    company_id: str
    requested_at: datetime
    users: int | None


def imported(tx: Tx, push: Push) -> dict[str, ImportedCount]:
    """The counts that are imported now for the push's period, by company; none = the portal has imported none."""
    query = select(portal_counts).where(
        portal_counts.c.partner_id == push.partner_id, portal_counts.c.period_key == push.period.key
    )
    return {
        row.company_id: ImportedCount(
            row.company_id, row.company_name, row.billable_users, row.imported_at > push.requested_at
        )
        for row in tx.execute(query.order_by(portal_counts.c.company_name))
    }


def pushed_since(tx: Tx, push: Push) -> dict[str, NewerLine]:
    """The newest line of each company in newer pushes and reverts of the same period, stored or on their way.

    Previews and refused pushes write nothing, nor does a revert where nothing was written.
    """
    found: dict[str, NewerLine] = {}
    for line in (*_stored(tx, push), *_on_their_way(tx, push)):
        if line.company_id not in found or line.requested_at >= found[line.company_id].requested_at:
            found[line.company_id] = line
    return found


def is_connected_as_then(tx: Tx, push: Push) -> bool:
    """True if the ConnectWise that was connected when the push was requested is connected now, or there was none."""
    current = connections.current(tx, push.partner_id)
    then = tenant_at(connections.tenant_history(tx, push.partner_id), push.requested_at)
    return then is None or (current is not None and current.tenant == then)


def _stored(tx: Tx, push: Push) -> Iterator[NewerLine]:
    joined = (pushes.c.partner_id == push_lines.c.partner_id) & (pushes.c.push_id == push_lines.c.push_id)
    taken_back = and_(pushes.c.mode == "revert", push_lines.c.status != "skipped")
    query = (
        select(push_lines.c.company_id, push_lines.c.billable_users, pushes.c.mode, pushes.c.requested_at)
        .join_from(pushes, push_lines, joined)
        .where(
            pushes.c.partner_id == push.partner_id,
            pushes.c.period_key == push.period.key,
            or_(pushes.c.mode == "apply", taken_back),
            pushes.c.state != "refused",
            pushes.c.requested_at > push.requested_at,
        )
    )
    for row in tx.execute(query):
        yield NewerLine(row.company_id, row.requested_at, None if row.mode == "revert" else row.billable_users)


def _on_their_way(tx: Tx, push: Push) -> Iterator[NewerLine]:
    """Those that the portal has sent, and no worker has yet."""
    is_there = (pushes.c.partner_id == portal_requests.c.partner_id) & (
        pushes.c.push_id == portal_requests.c.request_id
    )
    query = select(portal_requests.c.event_json).where(
        portal_requests.c.partner_id == push.partner_id,
        portal_requests.c.sent_at > push.requested_at,
        ~select(pushes.c.push_id).where(is_there).exists(),
    )
    for text in tx.execute(query).scalars().all():
        match _event(text):
            case PushRequested() as event if event.mode == "apply" and event.period.key == push.period.key:
                for line in event.lines:
                    yield NewerLine(line.company_id, event.requested_at, line.billable_users)
            case RevertRequested() as event:
                yield from _taken_back(tx, push, event)


def _taken_back(tx: Tx, push: Push, event: RevertRequested) -> Iterator[NewerLine]:
    reverted = find(tx, push.partner_id, event.push_id)
    if reverted is None or reverted.period.key != push.period.key:
        return
    query = select(push_lines.c.company_id).where(
        push_lines.c.partner_id == push.partner_id,
        push_lines.c.push_id == event.push_id,
        push_lines.c.status == "updated",
    )
    for company_id in tx.execute(query).scalars():
        yield NewerLine(company_id, event.requested_at, None)


def _event(text: str) -> object:
    return KINDS[json.loads(text)["type"]].model_validate_json(text, extra="ignore")

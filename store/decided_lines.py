"""Lines that were decided before, as they are now: with their targets and mappings, in one read."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, bindparam, select

from store.any_of import any_of
from store.database import Tx
from store.mappings import Version
from store.pushes import LineKey, Push
from store.schema import OPEN_STATUSES, mappings, push_lines, syncs


class LineNow(NamedTuple):
    """The parts of a line that may have changed.

    `target`, `mapping`: the versions that are stored; None = there is none. `due_at`, `target_attempts`,
    `first_failed_at` and `reported_at` are the target's.
    """

    is_open: bool
    sequence: int
    attempts: int
    mapping: Version | None
    target: Version | None
    due_at: datetime | None
    target_attempts: int | None
    first_failed_at: datetime | None
    reported_at: datetime | None


def now_of_push(tx: Tx, push: Push, company_ids: Collection[str]) -> dict[LineKey, LineNow]:
    """Read the lines of these companies in a push. Returns them by key."""
    which = {
        "partner": push.partner_id,
        "push": push.push_id,
        "period": push.period.key,
        "companies": company_ids,
    }
    return {
        (push.push_id, row[0]): LineNow(
            is_open=row[1] in OPEN_STATUSES,
            sequence=row[2],
            attempts=row[3],
            mapping=None if row[4] is None else (row[4], row[5]),
            target=None if row[6] is None else (row[6], row[7]),
            due_at=row[8],
            target_attempts=row[9],
            first_failed_at=row[10],
            reported_at=row[11],
        )
        for row in tx.execute(_LINES, which)
    }


_TARGET = and_(
    syncs.c.partner_id == push_lines.c.partner_id,
    syncs.c.company_id == push_lines.c.company_id,
    syncs.c.period_key == bindparam("period"),
)
_MAPPING = and_(mappings.c.partner_id == push_lines.c.partner_id, mappings.c.company_id == push_lines.c.company_id)
_LINES = (
    select(
        push_lines.c.company_id,
        push_lines.c.status,
        push_lines.c.sequence,
        push_lines.c.attempts,
        mappings.c.changed_at,
        mappings.c.message_id,
        syncs.c.requested_at,
        syncs.c.push_id,
        syncs.c.due_at,
        syncs.c.attempts,
        syncs.c.first_failed_at,
        syncs.c.reported_at,
    )
    .select_from(push_lines.outerjoin(syncs, _TARGET).outerjoin(mappings, _MAPPING))
    .where(
        push_lines.c.partner_id == bindparam("partner"),
        push_lines.c.push_id == bindparam("push"),
        any_of(push_lines.c.company_id, "companies"),
    )
)

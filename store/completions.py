"""The end of a push: it is completed in the transaction that gives its last line a final result."""

from collections.abc import Collection

from sqlalchemy import bindparam, select, update

from messages import PushCompleted
from store import outbox
from store.any_of import any_of
from store.database import Tx
from store.pushes import Push, push_of
from store.schema import OPEN_STATUSES, push_lines, pushes


def ended(tx: Tx, partner_id: str, push_ids: Collection[str]) -> list[Push]:
    """Return those of these pushes that are to be completed, as they have no open line any more, by id."""
    if not push_ids:
        return []
    rows = tx.execute(_ENDED, {"partner": partner_id, "pushes": list(push_ids)}).mappings()
    return [push_of(row) for row in rows]


_HAS_OPEN_LINES = (
    select(push_lines.c.company_id)
    .where(
        push_lines.c.partner_id == pushes.c.partner_id,
        push_lines.c.push_id == pushes.c.push_id,
        push_lines.c.status.in_(OPEN_STATUSES),
    )
    .exists()
)
_OVERLOOKED = select(pushes.c.partner_id, pushes.c.push_id).where(pushes.c.state == "accepted", ~_HAS_OPEN_LINES)
_ENDED = (
    select(pushes)
    .where(
        pushes.c.partner_id == bindparam("partner"),
        any_of(pushes.c.push_id, "pushes"),
        pushes.c.state == "accepted",
        ~_HAS_OPEN_LINES,
    )
    .order_by(pushes.c.push_id)
    # The sweep for overlooked pushes runs in each worker.
    .with_for_update()
)


def overlooked(tx: Tx) -> list[tuple[str, str]]:
    """Return (partner id, push id) of pushes that have no open line and are not completed.

    A worker of a version before 0015 leaves some: it completed a push once its results had come back to it.
    """
    return [(row.partner_id, row.push_id) for row in tx.execute(_OVERLOOKED)]


def complete(tx: Tx, completed: PushCompleted) -> None:
    """Close the push, and send its completion after its results."""
    tx.execute(
        update(pushes)
        .where(pushes.c.partner_id == completed.partner_id, pushes.c.push_id == completed.push_id)
        .values(state=completed.status, completed_json=completed.model_dump_json())
    )
    outbox.put(tx, completed)


def of_push(tx: Tx, partner_id: str, push_id: str) -> PushCompleted | None:
    """Return the completion of a push; None as long as it has not ended."""
    query = select(pushes.c.completed_json).where(pushes.c.partner_id == partner_id, pushes.c.push_id == push_id)
    text = tx.execute(query).scalar()
    return None if text is None else PushCompleted.model_validate_json(text, extra="ignore")

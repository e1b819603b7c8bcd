"""Cancellations: pushes that are to be stopped, also ones that have not arrived yet."""

from collections.abc import Collection

from sqlalchemy import select

from messages import PushCancelRequested
from store.database import Tx, upsert
from store.schema import cancellations


def add(tx: Tx, event: PushCancelRequested) -> None:
    """Keep who wants it, and when; the first one counts."""
    statement = upsert(tx, cancellations).values(
        partner_id=event.partner_id,
        push_id=event.push_id,
        requested_at=event.requested_at,
        requested_by=event.requested_by,
    )
    tx.execute(statement.on_conflict_do_nothing())


def of_pushes(tx: Tx, partner_id: str, push_ids: Collection[str]) -> set[str]:
    """Those of these pushes that are to be stopped."""
    query = select(cancellations.c.push_id).where(
        cancellations.c.partner_id == partner_id, cancellations.c.push_id.in_(push_ids)
    )
    return set(tx.execute(query).scalars())

"""Cancellations of pushes, also of pushes that have not arrived yet."""

from collections.abc import Collection

from sqlalchemy import bindparam, select

from messages import PushCancelRequested
from store.any_of import any_of
from store.database import Tx, upsert
from store.schema import cancellations


def add(tx: Tx, event: PushCancelRequested) -> None:
    """Store a cancellation; the first one of a push counts."""
    statement = upsert(tx, cancellations).values(
        partner_id=event.partner_id,
        push_id=event.push_id,
        requested_at=event.requested_at,
        requested_by=event.requested_by,
    )
    tx.execute(statement.on_conflict_do_nothing())


_OF_PUSHES = select(cancellations.c.push_id).where(
    cancellations.c.partner_id == bindparam("partner"),
    any_of(cancellations.c.push_id, "pushes"),
)


def of_pushes(tx: Tx, partner_id: str, push_ids: Collection[str]) -> set[str]:
    """Those of these pushes that were cancelled, by id."""
    return set(tx.execute(_OF_PUSHES, {"partner": partner_id, "pushes": list(push_ids)}).scalars())

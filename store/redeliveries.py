"""Redelivered messages that are being handled: one that kills its worker again and again is found out."""

from sqlalchemy import delete

from store.database import Tx, db_now, upsert
from store.schema import in_hand


def count_attempt(tx: Tx, queue: str, message_key: str) -> int:
    """Note, before a redelivered message is handled, that it is; which try this is. Commit it at once."""
    statement = upsert(tx, in_hand).values(queue=queue, tries=1, since=db_now())
    again = statement.on_conflict_do_update(
        index_elements=["queue", "message_key"], set_={"tries": in_hand.c.tries + 1}
    ).returning(in_hand.c.tries)
    tries: int = tx.execute(again, {"message_key": message_key}).scalar_one()
    return tries


def note_new(tx: Tx, queue: str, *message_keys: str) -> set[str]:
    """Note redelivered messages before they are handled together; which of them were not noted yet.

    Those that were are suspects. They are not counted here: while they wait for their turn nothing is tried, and the
    worker's death would be blamed on them.
    """
    statement = upsert(tx, in_hand).values(queue=queue, tries=1, since=db_now())
    new = statement.on_conflict_do_nothing(index_elements=["queue", "message_key"]).returning(in_hand.c.message_key)
    noted = [tx.execute(new, {"message_key": key}).scalar_one_or_none() for key in message_keys]
    return {key for key in noted if key is not None}


def forget(tx: Tx, queue: str, *message_keys: str) -> None:
    """The messages are done with."""
    tx.execute(delete(in_hand).where(in_hand.c.queue == queue, in_hand.c.message_key.in_(message_keys)))

"""Redelivered messages being handled (table `in_hand`), to detect one that kills its worker again and again."""

from sqlalchemy import delete, update

from store.database import Tx, db_now, upsert
from store.schema import in_hand


def count_attempt(tx: Tx, queue: str, message_key: str) -> int:
    """Count an attempt to handle a redelivered message, and return its number, from 1. Commit before handling."""
    statement = upsert(tx, in_hand).values(queue=queue, tries=1, since=db_now())
    counting = statement.on_conflict_do_update(
        index_elements=["queue", "message_key"], set_={"tries": in_hand.c.tries + 1}
    ).returning(in_hand.c.tries)
    tries: int = tx.execute(counting, {"message_key": message_key}).scalar_one()
    return tries


def take_back(tx: Tx, queue: str, message_key: str) -> None:
    """Take an attempt back that ended because it had to wait: nothing failed."""
    this = (in_hand.c.queue == queue, in_hand.c.message_key == message_key)
    tx.execute(delete(in_hand).where(*this, in_hand.c.tries == 1))
    tx.execute(update(in_hand).where(*this).values(tries=in_hand.c.tries - 1))


def note_new(tx: Tx, queue: str, *message_keys: str) -> set[str]:
    """Note redelivered messages before they are handled as a batch. Returns those that were not noted before.

    The others are suspects, to be handled alone. Their attempts are not counted here, since they only wait: the death
    of the worker would be blamed on them.
    """
    statement = upsert(tx, in_hand).values(queue=queue, tries=1, since=db_now())
    new = statement.on_conflict_do_nothing(index_elements=["queue", "message_key"]).returning(in_hand.c.message_key)
    noted = [tx.execute(new, {"message_key": key}).scalar_one_or_none() for key in message_keys]
    return {key for key in noted if key is not None}


def forget(tx: Tx, queue: str, *message_keys: str) -> None:
    """Delete the notes of messages that were handled."""
    tx.execute(delete(in_hand).where(in_hand.c.queue == queue, in_hand.c.message_key.in_(message_keys)))

"""Carrying an operation out: one process at a time has it claimed, and says how far it is."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update

from store.database import Tx, db_now
from store.operation_queries import Operation, OperationLetter, required
from store.operations import CLAIM_SECONDS, count
from store.schema import operation_letters, operations


class ClaimLost(Exception):
    """Another process has taken the operation over, or it has ended."""


def claim(tx: Tx, token: str, operation_id: str | None = None) -> Operation | None:
    """Claim a running operation that nobody carries out: this one, or the oldest that a page has begun; None = none."""
    which = (operations.c.origin == "page") if operation_id is None else operations.c.id == operation_id
    free = or_(operations.c.claim_until.is_(None), operations.c.claim_until < db_now())
    query = select(operations.c.id).where(operations.c.state == "running", free, which).order_by(operations.c.begun_at)
    found = tx.execute(query.limit(1).with_for_update(skip_locked=True)).scalar()
    if found is None:
        return None
    values = {"claim_token": token, "claim_until": db_now(CLAIM_SECONDS)}
    tx.execute(update(operations).where(operations.c.id == found).values(values))
    return required(tx, found)


def hold(tx: Tx, operation_id: str, token: str) -> str | None:
    """Keep the claim for another CLAIM_SECONDS. Returns who asked to stop, if anybody did. Raises ClaimLost."""
    mine = (operations.c.id == operation_id, operations.c.claim_token == token, operations.c.state == "running")
    kept = update(operations).where(*mine).values(claim_until=db_now(CLAIM_SECONDS)).returning(operations.c.stop_by)
    row = tx.execute(kept).first()
    if row is None:
        raise ClaimLost(operation_id)
    return None if row.stop_by is None else str(row.stop_by)


def let_go(tx: Tx, operation_id: str, token: str) -> None:
    """Give the claim up, for another process to go on."""
    mine = (operations.c.id == operation_id, operations.c.claim_token == token)
    tx.execute(update(operations).where(*mine).values(claim_token=None, claim_until=None))


def finish(tx: Tx, operation_id: str, token: str, stopped_why: str | None = None) -> Operation:
    """End it, or stop it for this reason. Raises ClaimLost."""
    hold(tx, operation_id, token)
    values = {
        "state": "ended" if stopped_why is None else "stopped",
        "stopped_why": stopped_why,
        "ended_at": db_now(),
        "claim_token": None,
        "claim_until": None,
    }
    tx.execute(update(operations).where(operations.c.id == operation_id).values(values))
    return count(tx, operation_id)


def save(tx: Tx, operation_id: str, letters: Sequence[OperationLetter]) -> None:
    """Store what became of these letters."""
    for letter in letters:
        mine = (operation_letters.c.operation_id == operation_id, operation_letters.c.position == letter.position)
        values = {name: getattr(letter, name) for name in OperationLetter.__dataclass_fields__}
        tx.execute(update(operation_letters).where(*mine).values(values))


def save_state(tx: Tx, operation_id: str, positions: Sequence[int], state: str, problem: str | None = None) -> None:
    """Store the state of the letters at these positions."""
    mine = (operation_letters.c.operation_id == operation_id, operation_letters.c.position.in_(positions))
    tx.execute(update(operation_letters).where(*mine).values(state=state, problem=problem))

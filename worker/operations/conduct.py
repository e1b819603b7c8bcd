"""Operations on dead letters are begun, and carried out by the process that has claimed them."""

from collections.abc import Callable
from threading import Event
from uuid import uuid4

from store import Database, Tx, operations
from store.dead_letter_queries import DeadLetterFilter
from store.operation_queries import Kind, Operation, Origin
from worker.operations.replaying import ReplayRun
from worker.operations.state_changes import StateChangeRun
from worker.topology import KINDS


def new_token() -> str:
    """A claim of this process."""
    return str(uuid4())


def begin(
    tx: Tx,
    kind: Kind,
    letters: DeadLetterFilter,
    *,
    by: str,
    why: str | None,
    origin: Origin,
    token: str | None = None,
    limit: int | None = None,
    rate: float | None = None,
    batch_seconds: float = 60.0,
) -> Operation:
    """Begin an operation on the letters that match; see `store.operations.begin`."""
    return operations.begin(
        tx,
        kind,
        letters,
        by=by,
        why=why,
        origin=origin,
        token=token,
        queues=tuple(KINDS),
        limit=limit,
        rate=rate,
        batch_seconds=batch_seconds,
    )


def carry_out(
    database: Database,
    operation: Operation,
    token: str,
    report: Callable[[Operation], None] = lambda _: None,
    stop: Event | None = None,
) -> None:
    """Carry out an operation that `token` has claimed until it ends, or until `stop`. Raises StoreError, ClaimLost."""
    run = ReplayRun if operation.kind == "replay" else StateChangeRun
    run(database, operation, token, report, stop or Event()).run()

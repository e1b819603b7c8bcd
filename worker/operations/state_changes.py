"""Discards dead letters, or restores discarded ones, some hundred at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from store import Database, operation_claims, operation_queries, operations, replays
from store.operation_queries import Operation

AT_ONCE = 500
CHANGES = {"discard": replays.discard, "restore": replays.restore}


@dataclass(frozen=True)
class StateChangeRun:
    """Carries out a `discard` or `restore` that `token` has claimed; `report` and `stop` as of a ReplayRun."""

    database: Database
    operation: Operation
    token: str
    report: Callable[[Operation], None]
    stop: Event

    def run(self) -> None:
        """Change all that are in the right state; others are refused. Raises StoreError and ClaimLost."""
        while not self.stop.is_set():
            with self.database.begin() as tx:
                asked = operation_claims.hold(tx, self.operation.id, self.token)
                waiting = operation_queries.letters_in(tx, self.operation.id, "waiting", AT_ONCE)
                if asked is not None and waiting:
                    shown = operation_claims.finish(tx, self.operation.id, self.token, operations.stopped_by(asked))
                elif waiting:
                    change, given = CHANGES[self.operation.kind], self.operation
                    changed = change(tx, [row.letter_id for row in waiting], by=given.begun_by, why=given.why)
                    done = [row.position for row in waiting if row.letter_id in changed]
                    refused = [row.position for row in waiting if row.letter_id not in changed]
                    problem = f"it is not {operations.NEEDED_STATE[given.kind]} any more"
                    operation_claims.save_state(tx, given.id, done, "done")
                    operation_claims.save_state(tx, given.id, refused, "refused", problem)
                    shown = operations.count(tx, given.id)
                else:
                    shown = operation_claims.finish(tx, self.operation.id, self.token)
            self.report(shown)
            if shown.state != "running":
                return

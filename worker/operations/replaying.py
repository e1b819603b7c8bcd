"""Replays dead letters in growing batches, and stops when one of a batch fails again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event
from time import monotonic

from store import Database, StoreError, dead_letter_queries, operation_claims, operation_queries, operations, replays
from store.operation_queries import Operation, OperationLetter
from worker.operations import fates
from worker.operations.fates import SentLetter

BATCHES = (1, 2, 5, 20, 50, 100)
POLL_SECONDS = 0.2
TOO_LARGE = "its AMQP properties are too large"
NOT_OPEN = "it is not open any more"


@dataclass(frozen=True)
class ReplayRun:
    """Carries a replay out that `token` has claimed; `report` is called with it whenever it is further.

    Every step is stored, so that another process can go on from there. `stop`: ends the run between two steps.
    """

    database: Database
    operation: Operation
    token: str
    report: Callable[[Operation], None]
    stop: Event

    def run(self) -> None:
        """Replay batch by batch, until all are decided or the operation stops. Raises StoreError and ClaimLost."""
        step = self.operation.step
        while not self.stop.is_set():
            batch, asked = self._unsettled()
            if not batch and asked is None:
                batch = self._sent(step)
                step += 1
            self._wait(batch)
            self._store(batch, step)
            if self.stop.is_set() or self._is_over(batch):
                return

    def _unsettled(self) -> tuple[list[SentLetter], str | None]:
        """Letters that were sent and are not decided, by an earlier process; and who asked to stop."""
        with self.database.begin() as tx:
            asked = operation_claims.hold(tx, self.operation.id, self.token)
            rows = operation_queries.letters_in(tx, self.operation.id, "sent")
        letters = []
        for row in rows:
            with self.database.begin() as tx:
                letters.append(fates.sent_letter(row, dead_letter_queries.get(tx, row.letter_id)))
        return letters, asked

    def _sent(self, step: int) -> list[SentLetter]:
        """Send the next letters, fewer at a time at first; those that were sent are returned."""
        size = BATCHES[min(step, len(BATCHES) - 1)]
        with self.database.begin() as tx:
            rows = operation_queries.letters_in(tx, self.operation.id, "waiting", size)
            fitting = dead_letter_queries.first_that_fit(tx, [row.letter_id for row in rows]) if rows else ()
        sent: list[SentLetter] = []
        for row in rows[: len(fitting)]:
            if self.operation.rate is not None and (sent or step):
                self._pause(1 / self.operation.rate)
            if self.stop.is_set() or not self._send(row, sent):
                break
        return sent

    def _send(self, row: OperationLetter, sent: list[SentLetter]) -> bool:
        """Replay a letter, unless it is refused; returns False if somebody asked to stop."""
        with self.database.begin() as tx:
            if operation_claims.hold(tx, self.operation.id, self.token) is not None:
                return False
            letter, problem, number = dead_letter_queries.get(tx, row.letter_id), NOT_OPEN, None
            try:
                replay = replays.replay(tx, row.letter_id, by=self.operation.begun_by, why=self.operation.why)
            except replays.TooLarge:
                replay, problem = None, TOO_LARGE
            if replay is None or letter is None:
                row = replace(row, state="refused", problem=problem)
            else:
                number = replay.number
                row = replace(row, state="sent", number=number, returns_before=letter.returns)
            operation_claims.save(tx, self.operation.id, [row])
        if number is not None:
            sent.append(fates.sent_letter(row, letter))
        return True

    def _pause(self, seconds: float) -> None:
        """Wait between two letters, keeping the claim."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0 and not self.stop.wait(min(left, operations.CLAIM_SECONDS / 3)):
            with self.database.begin() as tx:
                operation_claims.hold(tx, self.operation.id, self.token)

    def _wait(self, batch: Sequence[SentLetter]) -> None:
        """Wait until all of a batch are decided, or its time is over; each decision is stored at once."""
        until = monotonic() + self.operation.batch_seconds
        while waiting := [one for one in batch if not one.is_decided]:
            # The worker waits for the database too, so an error only costs time.
            with suppress(StoreError):
                self._look(waiting)
            if all(one.is_decided for one in waiting) or monotonic() > until or self.stop.wait(POLL_SECONDS):
                return

    def _look(self, waiting: Sequence[SentLetter]) -> None:
        before = [one.row for one in waiting]
        try:
            with self.database.begin() as tx:
                operation_claims.hold(tx, self.operation.id, self.token)
                decided = fates.update(tx, waiting)
                operation_claims.save(tx, self.operation.id, [one.row for one in decided])
                shown = operations.count(tx, self.operation.id) if decided else None
        except StoreError:
            for one, row in zip(waiting, before, strict=True):
                one.row = row
            raise
        if shown is not None:
            self.report(shown)

    def _store(self, batch: Sequence[SentLetter], step: int) -> None:
        """Store how far it is, for all to see, and for whoever goes on."""
        with self.database.begin() as tx:
            operation_claims.hold(tx, self.operation.id, self.token)
            operation_claims.save(tx, self.operation.id, [one.row for one in batch if not one.is_decided])
            shown = operations.count(tx, self.operation.id, step)
        self.report(shown)

    def _is_over(self, batch: Sequence[SentLetter]) -> bool:
        """End the operation if nothing is left, or stop it if it is to stop; returns True then."""
        with self.database.begin() as tx:
            asked = operation_claims.hold(tx, self.operation.id, self.token)
            left = bool(operation_queries.letters_in(tx, self.operation.id, "waiting", 1))
            why = _why_stop(batch, self.operation.batch_seconds, left=left)
            if asked is not None and left:
                why = operations.stopped_by(asked)
            if left and why is None:
                return False
            shown = operation_claims.finish(tx, self.operation.id, self.token, why)
        self.report(shown)
        return True


def _why_stop(batch: Sequence[SentLetter], timeout: float, *, left: bool) -> str | None:
    back = sum(one.row.state == "came back" for one in batch)
    open_still = sum(not one.is_decided for one in batch)
    if back and left:
        return f"{back:,} of {len(batch):,} failed again, so no more are sent"
    if open_still:
        return f"{open_still:,} of {len(batch):,} were not handled within {timeout:g} s{', so no more are sent' * left}"
    return None

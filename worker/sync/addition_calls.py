"""The calls on additions: each is read, then perhaps written, and the result says what follows for its job.

The part of `calls` that knows jobs. A thread of a pool makes a call, the run's own thread takes its result, has
`transitions` say what follows, and gives what is to be stored to `commit`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from typing import NamedTuple

import structlog

from cwclient import Addition, Agreement, MissingRight, QuantityNotKept
from messages import RightState
from store.connections import ConnectionVersion
from worker.checks import mapping_check
from worker.checks.connection_check import CheckedConnection
from worker.checks.mapping_check import CheckedMapping
from worker.connectwise.session import ConnectWiseSession
from worker.connectwise.write_answers import WriteAnswers
from worker.rules.errors import REFUSED_IN_A_ROW, NotStarted, RightRefused, Unconfirmed, WriteRefused
from worker.rules.problems import AGREEMENT_EDIT
from worker.sync import transitions
from worker.sync.call_threads import Call
from worker.sync.context import RunContext
from worker.sync.guard import Guard
from worker.sync.job import Job

log = structlog.get_logger()


class EditRight(NamedTuple):
    """A version of the connection, and whether ConnectWise takes writes under it."""

    connection: ConnectionVersion
    state: RightState


@dataclass
class CallResults:
    """The results of calls that are to be stored: jobs that have an outcome, those to be written, checks."""

    finished: list[Job] = field(default_factory=list)
    to_open: list[Job] = field(default_factory=list)
    checked: list[CheckedConnection | CheckedMapping] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.finished) + len(self.to_open) + len(self.checked)


class AdditionCalls:
    """The additions that are to be read and written, and what was learned from those that were."""

    def __init__(self, context: RunContext, guard: Guard, now: Callable[[], datetime]) -> None:
        self._context, self._guard, self._now = context, guard, now
        self.results = CallResults()
        self.edit: EditRight | None = None
        #: Jobs whose additions are to be read, and to be written, in this order.
        self.to_read, self.to_write = deque[Job](), deque[Job]()
        # Held while a thread takes one of them, so that two never take the same.
        self._choosing = Lock()
        self._writes, self._writing = WriteAnswers(), 0
        self._refused_reads = set[tuple[int, int]]()

    def take_results(self) -> CallResults:
        """Return what is to be stored, which is the caller's from now on."""
        results, self.results = self.results, CallResults()
        return results

    @property
    def may_write(self) -> bool:
        """True if there is a write that may be made: one at a time, after one was refused and until one is taken."""
        return bool(self.to_write) and (not self._writes.in_a_row or not self._writing)

    def _next_write(self, session: ConnectWiseSession) -> Call | None:
        if not self.may_write:
            return None
        call = self._write(self.to_write[0], session)
        self.to_write.popleft()
        self._writing += 1
        return call

    def _next_read(self, session: ConnectWiseSession) -> Call | None:
        if not self.to_read:
            return None
        call = self._read(self.to_read[0], session)
        self.to_read.popleft()
        return call

    def _read(self, job: Job, session: ConnectWiseSession) -> Call:
        """Read the job's addition, have its mappings checked if they are in doubt, and decide."""
        connection = self._guard.connection
        before_page, read_taken = partial(self._guard.wait_for_page, connection), partial(self._read_taken, connection)

        def make() -> tuple[Addition, Agreement | None, list[CheckedMapping]]:
            at = self._now()
            seconds = self._guard.circuit.seconds_for_call(job.first_failed_at, at)
            actual = session.addition(*job.address, seconds)
            agreement = session.agreement_if_allowed(job.address[0]) if job.preview else None
            checked = [
                CheckedMapping(
                    doubted.mapping,
                    mapping_check.check_mapping(session, doubted, at, before_page, read_taken, actual),
                )
                for doubted in transitions.mappings_in_doubt(job, actual, agreement, at)
            ]
            return actual, agreement, checked

        def done(call: Call) -> None:
            error = call.error
            if error is None:
                actual, job.agreement, checked = call.result()
                self.results.checked += checked
                try:
                    transitions.after_checks(job, checked)
                    transitions.after_read(job, actual, self._moment())
                except Exception as bug:  # noqa: BLE001 - it fails this line, not the partner
                    error = bug
            if isinstance(error, Unconfirmed):
                self._refused_reads.add(job.address)
                error = error.cause if len(self._refused_reads) >= REFUSED_IN_A_ROW else error
            if error is not None:
                self.take_error(job, error)
                return
            self._refused_reads.clear()
            self._guard.circuit.note_success(self._now())
            (self.results.finished if job.is_decided else self.results.to_open).append(job)

        return Call(make, done, job.tags)

    def _write(self, job: Job, session: ConnectWiseSession) -> Call:
        """Write the job's quantity, whose ledger row is open."""
        connection = self._guard.connection

        def make() -> Addition:
            self._guard.check_write(job.start_by)
            return session.set_quantity(*job.address, job.quantity, job.seconds)

        def done(call: Call) -> None:
            error = call.error
            with self._choosing:
                self._writing -= 1
            if connection is not None and self._guard.is_current(connection):
                if isinstance(error, WriteRefused):
                    error = self._blame(job, connection, error)
                if isinstance(error, RightRefused):
                    self.edit = EditRight(connection, "denied")
                elif error is None or isinstance(error, QuantityNotKept):
                    self.edit = EditRight(connection, "granted")
                    self._writes.note_accepted(job.address)
            if error is not None:
                self.take_error(job, error)
                return
            self._guard.circuit.note_success(self._now())
            transitions.after_write(job, call.result())
            self.results.finished.append(job)

        return Call(make, done, job.tags)

    def _blame(self, job: Job, connection: ConnectionVersion, refused: WriteRefused) -> Exception:
        """Return the error, of the record or of the connection, by the other writes under this version of it."""
        if not self._writes.refused:
            with self._context.database.begin() as tx:
                self._writes = WriteAnswers.from_ledger(tx, connection, self._writes.accepted)
        of_record = self._writes.blame(refused, job.address)
        is_right = isinstance(refused.cause, MissingRight)
        return of_record or (RightRefused(AGREEMENT_EDIT, refused.cause.said) if is_right else refused.cause)

    def take_error(self, job: Job, error: BaseException) -> None:
        """Take the error of a job's call."""
        outcome = self._guard.circuit.note_failure(error, self._now(), attempts=job.attempts)
        if not isinstance(error, NotStarted):
            log.info("call.failed", error=str(error), error_type=type(error).__name__, **job.tags)
        # Once all has failed the line fails with the others, not alone.
        transitions.after_error(job, error, self._guard.circuit.stop or outcome, self._moment())
        self.results.finished.append(job)

    def _moment(self) -> transitions.Moment:
        return transitions.Moment(self._now(), self._context.retry_for, self._context.unusual)

    def _read_taken(self, connection: ConnectionVersion | None) -> frozenset[tuple[int, int]]:
        if connection is None:
            return frozenset()
        with self._context.database.begin() as tx:
            return mapping_check.taken_additions(tx, connection)

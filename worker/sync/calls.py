"""The calls of a run to ConnectWise, at most four at a time, and their results.

Called by `run`. A thread of a shared pool makes the call and wakes the run, which takes the result in `take_ended` and
has `transitions` say what follows for a job.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

import structlog

from cwclient import Addition, Agreement, MissingRight, QuantityNotKept, RequestRefused, VersionRefused
from messages import RightState
from store.connections import ConnectionVersion
from store.mappings import Mapping
from worker import logs
from worker.catalog import questions
from worker.catalog.scheduler import ScheduledCall
from worker.checks import connection_check, mapping_check
from worker.checks.connection_check import CheckedConnection
from worker.checks.mapping_check import CheckedMapping, ToCheck
from worker.connectwise.session import ConnectWiseSession
from worker.connectwise.write_answers import WriteAnswers
from worker.rules.errors import REFUSED_IN_A_ROW, NotStarted, RightRefused, Unconfirmed, WriteRefused
from worker.rules.links import with_link
from worker.rules.outcomes import RETRIED, PausePartner
from worker.rules.problems import AGREEMENT_EDIT
from worker.rules.retry import is_given_up
from worker.sync import transitions
from worker.sync.context import CALLS_AT_ONCE, RunContext
from worker.sync.guard import Guard
from worker.sync.job import Job

Done = Callable[[Future[Any]], None]

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


class Calls:
    """The calls under way, and what was learned from those before them."""

    def __init__(
        self, context: RunContext, guard: Guard, now: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self._context, self._guard, self._now, self._wake = context, guard, now, wake
        self.session: ConnectWiseSession | None = None
        self.results = CallResults()
        self.edit: EditRight | None = None
        self._writes, self._writing = WriteAnswers(), 0
        self._refused_reads = set[tuple[int, int]]()
        self._under_way: dict[Future[Any], Done] = {}
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._questions: dict[Future[Any], float] = {}

    def connect(self, connection: ConnectionVersion | None) -> None:
        """From now on call this ConnectWise."""
        if self.session is not None and connection == self._guard.connection:
            return
        if self._guard.connection and connection and not self._guard.is_current(connection):
            self._guard.circuit.answered = False  # Nothing is known of these keys.
            self._writes = WriteAnswers()
        self._guard.connection = connection
        has_tenant = connection is not None and connection.tenant is not None
        self.session = self._context.connect(connection, self._guard.budget) if connection and has_tenant else None

    def take_results(self) -> CallResults:
        """Return what is to be stored, which is the caller's from now on."""
        results, self.results = self.results, CallResults()
        return results

    @property
    def under_way(self) -> int:
        """The number of calls whose results have not been taken yet."""
        return len(self._under_way)

    @property
    def only_questions(self) -> bool:
        """True if every call under way is one that questions wait for: a list of thousands may take a minute."""
        return bool(self._questions) and self._under_way.keys() == self._questions.keys()

    def has_question_since_before(self, at: float) -> bool:
        """True if a call of a question is under way that was begun before this monotonic time."""
        return any(begun < at for begun in self._questions.values())

    @property
    def has_room(self) -> bool:
        """True if one more may be made beside them. Until ConnectWise is proven one call at a time must do."""
        return len(self._under_way) < (CALLS_AT_ONCE if self._guard.circuit.is_proven else 1)

    @property
    def may_write(self) -> bool:
        """True if a write may be made now: one at a time, after one was refused as such and until one is taken."""
        return not self._writes.in_a_row or not self._writing

    def waits_until(self, until: float, *, held_back: bool) -> float | None:
        """Return the monotonic time to wait for calls until, or for the budget to allow the next of those held back.

        None = there is nothing to wait for.
        """
        if held_back and self.has_room:
            until = min(until, monotonic() + self._guard.budget.seconds_to_wait())
        return until if self._under_way or held_back else None

    def take_ended(self) -> None:
        """Take the results of the calls that have ended."""
        while True:
            try:
                future = self._ended.get_nowait()
            except Empty:
                return
            self._under_way.pop(future)(future)

    def _end(self, future: Future[Any]) -> None:
        self._ended.put(future)
        self._wake()

    def _start(self, call: Callable[[ConnectWiseSession], Any], done: Done, **tags: object) -> Future[Any] | None:
        if self.session is None:
            return None
        future = self._context.calls.submit(logs.carried(call, **tags), self.session)
        self._under_way[future] = done
        future.add_done_callback(self._end)
        return future

    # --- an addition: read, then perhaps written

    def read(self, job: Job) -> None:
        """Read the job's addition, have its mappings checked if they are in doubt, and decide."""
        at, before_page = self._now(), partial(self._guard.wait_for_page, self._guard.connection)
        seconds = self._guard.circuit.seconds_for_call(job.first_failed_at, at)

        def call(session: ConnectWiseSession) -> tuple[Addition, Agreement | None, list[CheckedMapping]]:
            actual = session.addition(*job.address, seconds)
            agreement = session.agreement_if_allowed(job.address[0]) if job.preview else None
            checked = [
                CheckedMapping(doubted.mapping, mapping_check.check_mapping(session, doubted, at, before_page, actual))
                for doubted in transitions.mappings_in_doubt(job, actual, agreement, at)
            ]
            return actual, agreement, checked

        def done(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                actual, job.agreement, checked = future.result()
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

        self._start(call, done, **job.tags)

    def write(self, job: Job) -> None:
        """Write the job's quantity, whose ledger row is open."""
        connection = self._guard.connection

        def call(session: ConnectWiseSession) -> Addition:
            self._guard.check_write(job.start_by)
            return session.set_quantity(*job.address, job.quantity, job.seconds)

        def done(future: Future[Any]) -> None:
            error = future.exception()
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
            transitions.after_write(job, future.result())
            self.results.finished.append(job)

        if self._start(call, done, **job.tags) is not None:
            self._writing += 1

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

    # --- checks and questions

    def check_connection(self, agreements: dict[int, str]) -> None:
        """Check the connection; `agreements`: those that it should see."""

        def done(future: Future[CheckedConnection]) -> None:
            checked = future.result()
            self.results.checked.append(checked)
            if checked.error is not None:
                self._guard.circuit.note_failure(checked.error, self._now())

        self._start(lambda session: connection_check.check_connection(session, agreements), done)

    def check_mapping(self, to_check: ToCheck) -> None:
        """Check a mapping."""
        at, before_page = self._now(), partial(self._guard.wait_for_page, self._guard.connection)

        def done(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                self._guard.circuit.note_success(self._now())
                self.results.checked.append(CheckedMapping(to_check.mapping, future.result()))
            else:
                self.results.checked.append(self._unchecked(to_check.mapping, error))

        if (known := mapping_check.check_offline(to_check)) is not None:
            self.results.checked.append(known)
        else:
            self._start(lambda session: mapping_check.check_mapping(session, to_check, at, before_page), done)

    def _unchecked(self, mapping: Mapping, error: BaseException) -> CheckedMapping:
        """Return the result of a check that failed: it is made again later, or the error is the result."""
        outcome = self._guard.circuit.note_failure(error, self._now(), attempts=mapping.check_attempts)
        # A mapping that was checked before keeps that result until it can be checked again.
        late = mapping.check is None and is_given_up(mapping.changed_at, self._now(), self._context.retry_for)
        passes = isinstance(outcome, PausePartner) or isinstance(error, NotStarted)
        if isinstance(outcome, RETRIED) and (passes or not late):
            retry_at = self._now() + timedelta(seconds=outcome.seconds)
            return mapping_check.check_later(mapping, retry_at, counts=not passes)
        return mapping_check.failed_check(mapping, with_link(outcome.problem, self._guard.connection, mapping))

    def ask(self, task: ScheduledCall) -> None:
        """Make a question's call."""
        connection = self._guard.connection

        def done(future: Future[Any]) -> None:
            self._questions.pop(future, None)
            error = future.exception()
            if not self._guard.is_current(connection) or isinstance(error, NotStarted):
                # What the former keys see, or are refused, says nothing of these.
                task.put_back()
            elif error is None:
                if task.call.reads_connectwise:
                    self._guard.circuit.note_success(self._now())
                task.done(future.result())
            elif isinstance(error, RightRefused):
                # Lines may do without this right, so they find out by themselves.
                self._guard.circuit.note_success(self._now())
                task.failed(questions.problem_of_outcome(self._guard.circuit.note_refused_question(error)))
            elif isinstance(error, RequestRefused) and not isinstance(error, VersionRefused):
                # Lists have conditions and an order, which lines do without.
                task.failed(questions.problem_of_outcome(self._guard.circuit.note_refused_question(error)))
            else:
                log.info("call.failed", error=str(error), error_type=type(error).__name__)
                task.failed(questions.problem_of_outcome(self._guard.circuit.note_failure(error, self._now())))

        before_page = partial(self._guard.wait_for_page, connection)
        future = self._start(lambda session: task.call.run(session, before_page), done)
        if future is not None:
            self._questions[future] = monotonic()

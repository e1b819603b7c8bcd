"""The calls of a run to ConnectWise, at most four at a time, and what came of them.

They are made by a shared pool of threads; what came of one is taken on the run's own thread, in `wait`.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog

from cwclient import Addition, Agreement, MissingRight, QuantityNotKept
from messages import RightState
from store.connections import ConnectionVersion
from store.mappings import Addition as Place
from worker import logs
from worker.catalog import questions
from worker.catalog.scheduler import ScheduledCall
from worker.checks import connection_check, mapping_check
from worker.checks.connection_check import CheckedConnection
from worker.checks.mapping_check import CheckedMapping, ToCheck
from worker.connectwise.circuit_breaker import CircuitBreaker
from worker.connectwise.rate_limit import RequestBudget
from worker.connectwise.session import ConnectWiseSession
from worker.connectwise.write_answers import WriteAnswers
from worker.rules.errors import REFUSED_IN_A_ROW, NotStarted, RightRefused, Unconfirmed, WriteRefused
from worker.rules.links import with_link
from worker.rules.outcomes import RETRIED, PausePartner, classify
from worker.rules.problems import AGREEMENT_EDIT
from worker.rules.retry import is_given_up
from worker.sync import context, transitions
from worker.sync.context import CALLS_AT_ONCE, RunContext
from worker.sync.job import Job

Taken = Callable[[Future[Any]], None]
Edit = tuple[ConnectionVersion, RightState]
"""A version of the connection, and whether ConnectWise takes writes under it."""

log = structlog.get_logger()


@dataclass
class CallResults:
    """The outcome of calls that is to be stored: jobs that have an outcome, those to be written, checks."""

    finished: list[Job] = field(default_factory=list)
    to_open: list[Job] = field(default_factory=list)
    checked: list[CheckedConnection | CheckedMapping] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.finished) + len(self.to_open) + len(self.checked)


class Calls:
    """The run keeps current what its calls look at before they go out: the lease, pauses, whether all is void."""

    def __init__(
        self,
        tools: RunContext,
        budget: RequestBudget,
        circuit: CircuitBreaker,
        now: Callable[[], datetime],
        lease_until: float,
    ) -> None:
        self._tools, self._budget, self._now = tools, budget, now
        self.circuit, self.lease_until = circuit, lease_until
        self.is_paused, self.is_outdated = False, False
        self.connection: ConnectionVersion | None = None
        self.remote: ConnectWiseSession | None = None
        self.found = CallResults()
        self.edit: Edit | None = None
        self._writes, self._writing = WriteAnswers(), 0
        self._refused_reads = set[Place]()
        self._under_way: dict[Future[Any], Taken] = {}
        self._asked: dict[Future[Any], float] = {}

    def connect(self, connection: ConnectionVersion | None) -> None:
        """From now on call this ConnectWise."""
        if self.remote is None or connection != self.connection:
            if self.connection and connection and self.connection.version != connection.version:
                self.circuit.answered = False  # Nothing is known of these keys.
                self._writes = WriteAnswers()
            self.connection = connection
            connected = connection is not None and connection.tenant is not None
            self.remote = self._tools.connect(connection, self._budget) if connection and connected else None

    @property
    def under_way(self) -> int:
        """The number of calls that have not been taken yet."""
        return len(self._under_way)

    @property
    def only_asks(self) -> bool:
        """True if every call under way is one that questions wait for: a list of thousands may take a minute."""
        return bool(self._asked) and self._under_way.keys() == self._asked.keys()

    def asks_since_before(self, at: float) -> bool:
        """True if a call of a question is under way that was begun before then."""
        return any(begun < at for begun in self._asked.values())

    @property
    def has_room(self) -> bool:
        """True if one more may be made beside them. Until ConnectWise is proven one call at a time must do."""
        return len(self._under_way) < (CALLS_AT_ONCE if self.circuit.is_proven else 1)

    @property
    def may_write(self) -> bool:
        """True if a write may be made now: one at a time, after one was refused as such and until one is taken."""
        return not self._writes.in_a_row or not self._writing

    def wait(self, until: float, *, held_back: bool) -> None:
        """Wait for calls, or for the budget to allow the next of those held back, and take what came."""
        if held_back and self.has_room:
            until = min(until, monotonic() + self._budget.seconds_to_wait())
        timeout = max(0.0, until - monotonic())
        if self._under_way:
            done, _ = wait(self._under_way, timeout=timeout, return_when=FIRST_COMPLETED)
            for future in done:
                self._under_way.pop(future)(future)
        elif held_back:
            self._tools.draining.wait(timeout)

    def _start(self, call: Callable[[ConnectWiseSession], Any], then: Taken, **tags: object) -> Future[Any] | None:
        if self.remote is None:
            return None
        future = self._tools.calls.submit(logs.carried(call, **tags), self.remote)
        self._under_way[future] = then
        return future

    # --- an addition: read, then perhaps written

    def read(self, job: Job) -> None:
        """Read the job's addition, have its mappings checked if they are in doubt, and decide."""
        agreement_id, addition_id = job.address
        at, turn = self._now(), partial(self._turn, self.connection)
        seconds = self.circuit.seconds_for_call(job.first_failed_at, at)

        def then(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                actual, job.agreement, checked = future.result()
                self.found.checked += checked
                try:
                    transitions.asked_again(job, checked)
                    transitions.after_read(job, actual, self._moment())
                except Exception as bug:  # noqa: BLE001 - it fails this line, not the partner
                    error = bug
            if isinstance(error, Unconfirmed):
                self._refused_reads.add(job.address)
                error = error.cause if len(self._refused_reads) >= REFUSED_IN_A_ROW else error
            if error is not None:
                self.failed(job, error)
                return
            self._refused_reads.clear()
            self.circuit.note_success(self._now())
            (self.found.finished if job.is_decided else self.found.to_open).append(job)

        def read(remote: ConnectWiseSession) -> tuple[Addition, Agreement | None, list[CheckedMapping]]:
            actual = remote.addition(agreement_id, addition_id, seconds)
            agreement = remote.agreement_if_allowed(agreement_id) if job.preview else None
            checked = [
                CheckedMapping(one.mapping, mapping_check.check_mapping(remote, one, at, turn, actual))
                for one in transitions.in_doubt(job, actual, agreement, at)
            ]
            return actual, agreement, checked

        self._start(read, then, **job.tags)

    def write(self, job: Job) -> None:
        """Write the job's quantity, whose ledger row is open."""
        agreement_id, addition_id = job.address
        connection = self.connection

        def patch(remote: ConnectWiseSession) -> Addition:
            late = monotonic() > min(job.start_by, self.lease_until - context.LEASE_LEFT_FOR_PATCH)
            if late or self.is_outdated or self.circuit.is_open or self._tools.draining.is_set():
                raise NotStarted
            return remote.set_quantity(agreement_id, addition_id, job.quantity)

        def then(future: Future[Any]) -> None:
            error = future.exception()
            self._writing -= 1
            if connection is not None and self._is_current(connection):
                if isinstance(error, WriteRefused):
                    error = self._to_blame(job, connection, error)
                if isinstance(error, RightRefused):
                    self.edit = (connection, "denied")
                elif error is None or isinstance(error, QuantityNotKept):
                    self.edit = (connection, "granted")
                    self._writes.note_accepted(job.address)
            if error is not None:
                self.failed(job, error)
                return
            self.circuit.note_success(self._now())
            transitions.after_write(job, future.result())
            self.found.finished.append(job)

        if self._start(patch, then, **job.tags) is not None:
            self._writing += 1

    def _to_blame(self, job: Job, connection: ConnectionVersion, refused: WriteRefused) -> Exception:
        """Return the error, of the record or of the connection, by what others have met under this version of it."""
        if not self._writes.refused:
            with self._tools.database.begin() as tx:
                self._writes = WriteAnswers.from_ledger(tx, connection, self._writes.accepted)
        found = self._writes.blame(refused, job.address)
        is_right = isinstance(refused.cause, MissingRight)
        return found or (RightRefused(AGREEMENT_EDIT, refused.cause.said) if is_right else refused.cause)

    def failed(self, job: Job, error: BaseException) -> None:
        """Take the error of a job's call."""
        verdict = self.circuit.note_failure(error, self._now(), attempts=job.attempts)
        if not isinstance(error, NotStarted):
            log.info("call.failed", error=str(error), error_type=type(error).__name__, **job.tags)
        # Once all has failed the line fails with the others, not alone.
        transitions.after_error(job, error, self.circuit.stop or verdict, self._moment())
        self.found.finished.append(job)

    def _moment(self) -> transitions.Moment:
        return transitions.Moment(self._now(), self._tools.retry_for, self._tools.unusual)

    # --- checks and questions

    def check_connection(self, agreements: dict[int, str]) -> None:
        """Check the connection; `agreements`: those that it should see."""

        def then(future: Future[CheckedConnection]) -> None:
            checked = future.result()
            self.found.checked.append(checked)
            if checked.error is not None:
                self.circuit.note_failure(checked.error, self._now())

        self._start(lambda remote: connection_check.check_connection(remote, agreements), then)

    def check_mapping(self, to_check: ToCheck) -> None:
        """Check a mapping."""
        mapping, at, connection = to_check.mapping, self._now(), self.connection

        def then(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                self.circuit.note_success(self._now())
                self.found.checked.append(CheckedMapping(mapping, future.result()))
                return
            verdict = self.circuit.note_failure(error, self._now(), attempts=mapping.check_attempts)
            # One that was checked before keeps what was found then until it can be checked again.
            late = mapping.check is None and is_given_up(mapping.changed_at, self._now(), self._tools.retry_for)
            passes = isinstance(verdict, PausePartner) or isinstance(error, NotStarted)
            if isinstance(verdict, RETRIED) and (passes or not late):
                retry_at = self._now() + timedelta(seconds=verdict.seconds)
                self.found.checked.append(mapping_check.check_later(mapping, retry_at, counts=not passes))
            else:
                self.found.checked.append(
                    mapping_check.failed_check(mapping, with_link(verdict.problem, self.connection, mapping))
                )

        if (known := mapping_check.check_offline(to_check)) is not None:
            self.found.checked.append(known)
        else:
            turn = partial(self._turn, connection)
            self._start(lambda remote: mapping_check.check_mapping(remote, to_check, at, turn), then)

    def ask(self, task: ScheduledCall) -> None:
        """Make a question's call."""
        connection = self.connection

        def then(future: Future[Any]) -> None:
            self._asked.pop(future, None)
            error = future.exception()
            if not self._is_current(connection):
                # What the former keys see, or meet, says nothing of these.
                task.not_made()
            elif error is None:
                if task.call.asks:
                    self.circuit.note_success(self._now())
                task.done(future.result())
            elif isinstance(error, RightRefused):
                # Lines may do without this right, so they find out by themselves.
                self.circuit.note_success(self._now())
                task.failed(questions.problem_of_outcome(classify(error, attempts=0, chance=0.0)))
            elif isinstance(error, NotStarted):
                task.not_made()
            else:
                log.info("call.failed", error=str(error), error_type=type(error).__name__)
                task.failed(questions.problem_of_outcome(self.circuit.note_failure(error, self._now())))

        future = self._start(lambda remote: task.call.make(remote, partial(self._turn, connection)), then)
        if future is not None:
            self._asked[future] = monotonic()

    def _is_current(self, connection: ConnectionVersion | None) -> bool:
        """True if this version of the connection is the one that is called."""
        ours = self.connection
        return connection is not None and ours is not None and ours.version == connection.version

    def _turn(self, connection: ConnectionVersion | None) -> None:
        """Wait, in a thread of the pool, until a list's next page may be asked for. Raises NotStarted."""
        while True:
            stops = self._tools.draining.is_set() or self.is_paused or self.circuit.is_open or self.is_outdated
            if stops or not self._is_current(connection) or monotonic() > self.lease_until:
                raise NotStarted
            # A page came: lines need not wait for the whole list to see that ConnectWise answers and takes the keys.
            self.circuit.answered = True
            seconds = self._budget.seconds_to_wait()
            if not seconds:
                return
            self._tools.draining.wait(seconds)

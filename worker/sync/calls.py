"""The calls of a run to ConnectWise, at most four at a time, and their results.

Called by `run`. `call_threads` make the calls, and read and write one addition after the other by themselves; the run
takes the results in `take_ended` and has `transitions` say what follows for a job.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog

from cwclient import RequestRefused, VersionRefused
from store.connections import ConnectionVersion
from store.mappings import Mapping
from worker.catalog import questions
from worker.catalog.scheduler import ScheduledCall
from worker.checks import connection_check, mapping_check
from worker.checks.connection_check import CheckedConnection
from worker.checks.mapping_check import CheckedMapping, ToCheck
from worker.connectwise.session import ConnectWiseSession
from worker.connectwise.write_answers import WriteAnswers
from worker.rules.errors import NotStarted, RightRefused
from worker.rules.links import with_link
from worker.rules.outcomes import RETRIED, PausePartner
from worker.rules.retry import is_given_up
from worker.sync.addition_calls import AdditionCalls
from worker.sync.call_threads import Call, CallThreads
from worker.sync.context import CALLS_AT_ONCE, RunContext
from worker.sync.guard import Guard

log = structlog.get_logger()


class Calls(AdditionCalls):
    """The calls under way, and what was learned from those before them."""

    def __init__(
        self, context: RunContext, guard: Guard, now: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        super().__init__(context, guard, now)
        self.session: ConnectWiseSession | None = None
        self.questions_wait = False
        """True if the next calls are to be those of questions."""
        self._threads = CallThreads(context.calls, self._following, wake)
        self._questions: dict[Call, float] = {}

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

    @property
    def under_way(self) -> int:
        """The number of calls whose results have not been taken yet."""
        return self._threads.under_way

    @property
    def only_questions(self) -> bool:
        """True if every call under way is one that questions wait for: a list of thousands may take a minute."""
        return bool(self._questions) and self.under_way == len(self._questions)

    def has_question_since_before(self, at: float) -> bool:
        """True if a call of a question is under way that was begun before this monotonic time."""
        return any(begun < at for begun in self._questions.values())

    @property
    def has_room(self) -> bool:
        """True if one more may be made beside them. Until ConnectWise is proven one call at a time must do."""
        if self._threads.has_failed:
            return False
        return self._threads.running < CALLS_AT_ONCE if self._guard.circuit.is_proven else not self.under_way

    def waits_until(self, until: float, *, held_back: bool) -> float | None:
        """Return the monotonic time to wait for calls until, or for the budget to allow the next of those held back.

        None = there is nothing to wait for.
        """
        if held_back and self.has_room:
            until = min(until, monotonic() + self._guard.budget.seconds_to_wait())
        return until if self.under_way or held_back else None

    def wake_after(self, ended: int) -> None:
        """Wake the run once so many calls have ended; it is woken anyway when a thread has no more to make."""
        self._threads.wake_after(ended)

    def take_ended(self) -> None:
        """Take the results of the calls that have ended."""
        self._threads.take_ended()

    def _start(self, make: Callable[[ConnectWiseSession], Any], done: Callable[[Call], None]) -> Call | None:
        if self.session is None:
            return None
        call = Call(partial(make, self.session), done, urgent=True)
        self._threads.start(call)
        return call

    # --- additions, each read, then perhaps written

    def start_write(self) -> bool:
        """Have an addition written, and others after it. Returns False if none may be."""
        return self._start_next(self._next_write)

    def start_read(self) -> bool:
        """Have an addition read, and others after it. Returns False if none is to be."""
        return self._start_next(self._next_read)

    def _start_next(self, choose: Callable[[ConnectWiseSession], Call | None]) -> bool:
        if self.session is None:
            return False
        with self._choosing:
            call = choose(self.session)
        if call is not None:
            self._threads.start(call)
        return call is not None

    def _following(self) -> Call | None:
        """Return the call that a thread goes on with, which the run would have chosen too; None = the run decides."""
        session = self.session
        if session is None or not self._guard.circuit.is_proven or self._guard.budget.seconds_to_wait():
            return None
        with self._choosing:
            call = self._next_write(session)
            if call is None and self._guard.may_read and not self.questions_wait:
                call = self._next_read(session)
        return call

    # --- checks and questions

    def check_connection(self, agreements: dict[int, str]) -> None:
        """Check the connection; `agreements`: those that it should see."""

        def done(call: Call) -> None:
            checked: CheckedConnection = call.result()
            self.results.checked.append(checked)
            if checked.error is not None:
                self._guard.circuit.note_failure(checked.error, self._now())

        self._start(lambda session: connection_check.check_connection(session, agreements), done)

    def check_mapping(self, to_check: ToCheck) -> None:
        """Check a mapping."""
        at, connection = self._now(), self._guard.connection
        before_page, read_taken = partial(self._guard.wait_for_page, connection), partial(self._read_taken, connection)

        def done(call: Call) -> None:
            error = call.error
            if error is None:
                self._guard.circuit.note_success(self._now())
                self.results.checked.append(CheckedMapping(to_check.mapping, call.result()))
            else:
                self.results.checked.append(self._unchecked(to_check.mapping, error))

        if (known := mapping_check.check_offline(to_check)) is not None:
            self.results.checked.append(known)
        else:
            self._start(
                lambda session: mapping_check.check_mapping(session, to_check, at, before_page, read_taken), done
            )

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

        def done(call: Call) -> None:
            self._questions.pop(call, None)
            error = call.error
            if not self._guard.is_current(connection) or isinstance(error, NotStarted):
                # What the former keys see, or are refused, says nothing of these.
                task.put_back()
            elif error is None:
                if task.call.reads_connectwise:
                    self._guard.circuit.note_success(self._now())
                task.done(call.result())
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
        call = self._start(lambda session: task.call.run(session, before_page), done)
        if call is not None:
            self._questions[call] = monotonic()

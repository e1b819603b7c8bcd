"""One run: while its lease holds, make a partner's ConnectWise match its targets, and let the results leave.

Started by `supervisor`, gone on with by `run_threads` when calls have ended. It decides and stores:
`due_work` loads jobs, `calls` makes their requests in other threads, `transitions` says what an answer makes of a job,
`commit` stores it. No transaction is open while it waits.
"""

from collections import deque
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from time import monotonic

import structlog

from store import StoreError, Tx, connections, leases, ledger
from worker import metrics, tracing
from worker.catalog import questions
from worker.catalog.scheduler import Scheduler
from worker.checks import connection_check, mapping_check
from worker.checks.connection_check import CheckedConnection
from worker.checks.mapping_check import ToCheck
from worker.clock import Clock
from worker.connectwise.circuit_breaker import CircuitBreaker
from worker.connectwise.rate_limit import RequestBudget
from worker.rules.problems import problem
from worker.sync import guard, transitions
from worker.sync.addition_calls import CallResults, EditRight
from worker.sync.calls import Calls
from worker.sync.commit import commit_jobs, log_results, version_of
from worker.sync.context import RunContext
from worker.sync.due_work import load_due_work
from worker.sync.fail_open_lines import Answered, fail_open_lines, refuse_waiting
from worker.sync.guard import Guard
from worker.sync.run_threads import Steps

SLICE_SECONDS = 30.0
# While nothing but lists is read, what is due is loaded this often.
LOAD_SECONDS = 2.0
# Results are stored together: those of so many seconds, or of so many additions, or all once no call is under way.
FLUSH_SECONDS, FLUSH_SECONDS_MOST = 1.0, 4.0
FLUSH_JOBS = 100
OPEN_WRITES_EVERY = timedelta(minutes=1)
# A flush takes at most this part of a run's time: 1 / FLUSH_SHARE.
FLUSH_SHARE = 32.0
RENEW_SECONDS = 5.0

log = structlog.get_logger()


class LeaseLost(Exception):
    """Another worker took over: whatever this run still holds is void."""


class Run:
    """The state of one run; see the module."""

    def __init__(self, context: RunContext, lease: leases.Lease, lease_until: float, wake: Callable[[], None]) -> None:
        self._context, self._partner_id, self._token = context, lease.partner_id, lease.token
        self._load_at = 0.0
        self._next_flush = monotonic() + FLUSH_SECONDS
        self._has_loaded = False
        self._woken_at: datetime | None = None
        self._to_check: deque[ToCheck] = deque()
        self._edit_stored: EditRight | None = None
        self._edit_shown: EditRight | None = None
        self._clock = Clock()
        self._clock.set(lease.at)
        circuit = CircuitBreaker(context.retry_for, lease.health)
        circuit.end_passed_pause(self._clock.now())
        budget = RequestBudget(lease.budget_tokens, lease.budget_age)
        self._guard = Guard(context.draining, circuit, budget, lease_until, lease.paused, monotonic() + SLICE_SECONDS)
        self._calls = Calls(context, self._guard, self._clock.now, wake)
        self._scheduler = Scheduler(context.database, lease.partner_id, self._clock.now)

    def work(self) -> Steps:
        """Work until there is nothing to do or it is time to stop, then release the lease.

        Yields the time until which it waits for calls.
        Raises LeaseLost, StoreError, or whatever bug of ours is met twice.
        """
        try:
            while True:
                if not self._is_ending():
                    self._load()
                while self._has_work():
                    yield from self._step()
                    if self._only_questions() and monotonic() >= self._load_at:
                        self._load()
                if (yield from self._release()):
                    return
        finally:
            # However it ended: calls that are still queued make no request beside the next run.
            self._guard.lease_until = 0.0

    def _is_ending(self) -> bool:
        """True if nothing new is to be begun: the guard says so, or the slice is over."""
        return self._guard.must_stop or self._slice_is_over()

    def _slice_is_over(self) -> bool:
        """True if it is other partners' turn. A list begun in time is read to its end; lines need not wait for it."""
        until = self._guard.slice_until
        return monotonic() > until and not self._calls.has_question_since_before(until)

    def _has_work(self) -> bool:
        begun = self._calls.under_way or self._calls.to_write or self._unstored()
        return bool(begun) or self._may_begin()

    def _may_begin(self) -> bool:
        """True if there is anything to be read for a question, a line or a check, and nothing that comes before it."""
        queued = self._calls.to_read or self._to_check or self._scheduler.has_next
        is_current = not self._guard.is_woken and not self._guard.is_outdated
        return bool(queued) and is_current and not self._is_ending()

    def _unstored(self) -> int:
        """Return the number of things to be stored."""
        return len(self._calls.results) + self._scheduler.unsaved

    def _only_questions(self) -> bool:
        """True if nothing but lists is read, which may take long: what is due meanwhile may be loaded beside that."""
        return (
            self._calls.only_questions and not self._calls.to_write and not self._unstored() and not self._is_ending()
        )

    # --- load, call, store

    def _load(self) -> None:
        with self._context.database.begin(autocommit=True) as tx:
            times = leases.due_times(tx, self._partner_id)
            self._woken_at = times.woken_at
            due = load_due_work(tx, self._partner_id, times)
            connection = due.connection
            check_connection = connection is not None and connection.check_due_at is not None
            agreements = connection_check.mapped_agreements(tx, connection) if connection and check_connection else {}
            if self._has_loaded and version_of(connection) != version_of(self._guard.connection):
                self._scheduler.forget()
                self._store_learned(tx, outdated=True)
        self._calls.connect(connection)
        if not self._has_loaded and connection and (shown := connection_check.shown_edit_right(connection)):
            self._edit_shown = EditRight(connection, shown)
        self._has_loaded, self._guard.is_woken, self._guard.is_outdated = True, False, False
        self._load_at = monotonic() + LOAD_SECONDS
        self._calls.to_read.clear()
        self._to_check.clear()
        self._calls.results.finished.extend(due.decided)
        self._scheduler.take(due.questions, connection.tenant if connection else None)
        tracing.spans().serve(self._partner_id, due.traceparents | self._scheduler.traceparents)
        if self._calls.session is None:
            self._calls.results.checked.extend(mapping_check.not_connected(to_check) for to_check in due.checks)
            return
        self._calls.to_read.extend(due.jobs)
        self._to_check.extend(due.checks)
        if check_connection:
            self._calls.check_connection(agreements)

    def _step(self) -> Steps:
        """Start calls, wait for some, take their results, store at the tick."""
        self._start_calls()
        renew_at = self._guard.lease_until - leases.LEASE_SECONDS + RENEW_SECONDS
        until = min(renew_at, self._next_flush) if self._unstored() else renew_at
        until = min(until, self._load_at) if self._only_questions() else until
        # Until the flush the results of calls need nobody, unless there are enough for it.
        self._calls.wake_after(FLUSH_JOBS - self._unstored() if self._unstored() else 1)
        held_back = self._calls.may_write or self._may_begin()
        waits_until = self._calls.waits_until(until, held_back=held_back)
        if waits_until is not None:
            is_over_budget = held_back and self._calls.has_room and self._guard.budget.seconds_to_wait() > 0
            began = monotonic()
            yield waits_until
            if is_over_budget:
                metrics.BUDGET_WAIT.inc(monotonic() - began)
        self._calls.take_ended()
        at = monotonic()
        idle = not self._calls.under_way and not self._calls.to_write and not self._may_begin()
        full = at >= self._next_flush or self._unstored() >= FLUSH_JOBS
        if (self._unstored() and (idle or full)) or at >= renew_at:
            self._flush()

    def _start_calls(self) -> None:
        while self._calls.has_room and not self._guard.budget.seconds_to_wait():
            if self._calls.start_write():
                continue
            if not self._may_begin():
                break
            if (task := self._scheduler.next()) is not None:
                self._calls.ask(task)
            elif not self._calls.start_read() and self._to_check:
                self._calls.check_mapping(self._to_check.popleft())
        self._calls.questions_wait = self._scheduler.has_next

    def _flush(self) -> None:
        """Store the results of calls; a job whose outcome a bug of ours keeps from being stored fails by itself."""
        results = self._calls.take_results()
        started = monotonic()
        try:
            self._store(results)
        except (LeaseLost, StoreError):
            raise
        except Exception:
            log.exception("flush.failed")
            self._store_singly(results)
        # A process that is busy makes each transaction slow: then store larger batches, less often.
        pause = max(FLUSH_SECONDS, FLUSH_SHARE * (monotonic() - started))
        self._next_flush = started + min(pause, FLUSH_SECONDS_MOST)

    def _store_singly(self, results: CallResults) -> None:
        """One addition a transaction. What cannot be stored is taken like a failed call."""
        single = [(job, CallResults(finished=[job])) for job in results.finished]
        single += [(job, CallResults(to_open=[job])) for job in results.to_open]
        for job, alone in single:
            try:
                self._store(alone)
            except (LeaseLost, StoreError):
                raise
            except Exception as bug:  # noqa: BLE001 - it fails this line, not the partner
                self._calls.take_error(job, bug)
                self._store(self._calls.take_results())
        self._store(CallResults(checked=results.checked))

    def _store(self, results: CallResults) -> None:
        """One transaction: commit finished jobs, open the ledger rows of those to be written, renew the lease."""
        started = monotonic()
        connection, edit = self._guard.connection, self._calls.edit
        edit_stored, edit_shown = self._edit_stored, self._edit_shown
        with self._context.database.begin() as tx:
            renewed = self._renew_lease(tx)
            committed = commit_jobs(
                tx,
                renewed.at,
                results.finished,
                results.to_open,
                partner_id=self._partner_id,
                connection=connection,
                current=renewed.connection,
            )
            for checked in results.checked:
                checked.save(tx)
                if isinstance(checked, CheckedConnection):
                    edit_shown = None
            # Nothing is to be recorded that the check showed when it was loaded, if no other has come since.
            if edit and edit != edit_stored and (edit == edit_shown or connection_check.record_edit_right(tx, *edit)):
                edit_stored, edit_shown = edit, None
            tenant = (connection.tenant if connection else None) or ""
            for job in committed.to_write:
                job.seconds = self._guard.circuit.seconds_for_write(job.first_failed_at, renewed.at)
            entries = [transitions.entry_of(job) for job in committed.to_write]
            call_seconds = [self._context.call_seconds(job.seconds) for job in committed.to_write]
            opened = ledger.open_entries(tx, self._partner_id, tenant, entries, call_seconds)
            if committed.is_outdated:
                self._scheduler.forget()
            self._scheduler.save(tx)
            self._store_learned(tx, outdated=committed.is_outdated)
        self._guard.lease_until = started + leases.LEASE_SECONDS
        self._edit_stored, self._edit_shown = edit_stored, edit_shown
        # Once another connection is stored, no more requests are made with the keys of this one.
        self._guard.is_outdated = committed.is_outdated
        for job in committed.to_write:
            job.entry, job.start_by = opened[job.address], started + guard.START_WITHIN
            self._calls.to_write.append(job)
        log_results(committed.results)

    def _renew_lease(self, tx: Tx) -> leases.Renewed:
        """Check and renew the lease, and own the partner for this transaction."""
        renewed = leases.renew(tx, self._partner_id, self._token, self._guard.budget.tokens)
        if renewed is None:
            raise LeaseLost
        self._guard.is_paused = renewed.paused
        self._guard.is_woken = self._guard.is_woken or renewed.woken_at != self._woken_at
        return renewed

    def _store_learned(self, tx: Tx, *, outdated: bool) -> None:
        """Keep how ConnectWise does and where its API is; forget it if that was learned of another connection."""
        if outdated:
            self._guard.circuit = CircuitBreaker(self._context.retry_for, leases.health(tx, self._partner_id))
            return
        self._guard.circuit.store(tx, self._partner_id)
        api = self._calls.session.discovery if self._calls.session else None
        if self._guard.connection and api and api.is_new and api.base_url and api.looked_up_at:
            at, version, answered = api.looked_up_at, api.api_version, api.answered
            connections.save_discovery(tx, self._guard.connection, api.base_url, at, version, answered=answered)
            api.is_new = False

    # --- the end of the run

    def _release(self) -> Generator[float, None, bool]:
        """Release the lease until the next work is due; False = more has come meanwhile, and the run goes on.

        Yields between the transactions that answer what cannot succeed: other runs are ready too.
        """
        while True:
            with self._context.database.begin() as tx:
                renewed = self._renew_lease(tx)
                at, outdated = renewed.at, self._has_loaded and renewed.connection != version_of(self._guard.connection)
                answered = Answered([], is_all=True)
                if not outdated:
                    if renewed.awaits_check:
                        self._guard.circuit.half_open()
                    answered = self._give_up(tx, at)
                is_cut_short = not answered.is_all and self._context.draining.is_set()
                is_released = is_cut_short
                if is_cut_short:
                    leases.release(tx, self._partner_id, self._token, at)
                elif answered.is_all:
                    is_released = self._let_go(tx, at, outdated=outdated)
            log_results(answered.results)
            if answered.is_all or is_cut_short:
                return is_released
            yield monotonic()

    def _let_go(self, tx: Tx, at: datetime, *, outdated: bool) -> bool:
        """Release the lease, unless more is due. Returns False then."""
        due = leases.due_times(tx, self._partner_id).first
        if due is None:
            self._guard.circuit.forget_outage()
        self._store_learned(tx, outdated=outdated)
        if due is not None and due <= at and not self._is_ending():
            return False
        if self._has_loaded:
            # A run that has loaded nothing, as ConnectWise is left alone, does not prove that the bug is gone.
            self._guard.circuit.note_clean_run()
            self._guard.circuit.store(tx, self._partner_id)
        due = self._or_open_writes(tx, at, due)
        if due is not None:
            # What is due now waits its turn behind other partners.
            due = max(due, at, self._guard.circuit.open_until or due)
        # The end of an operator's pause wakes the partner.
        leases.release(tx, self._partner_id, self._token, None if self._guard.is_paused else due)
        return True

    def _give_up(self, tx: Tx, at: datetime) -> Answered:
        """Fail what cannot succeed. While ConnectWise is left alone say so to those who wait for an answer."""
        circuit, is_paused = self._guard.circuit, self._guard.is_paused
        why_paused = questions.problem_of_pause(circuit.health.paused_why)
        if circuit.health.paused_why == "unreachable" and not is_paused:
            circuit.give_up(why_paused, at)
        if circuit.stop is not None:
            return fail_open_lines(tx, at, self._partner_id, circuit.stop)
        if is_paused:
            return refuse_waiting(tx, at, self._partner_id, problem("paused"))
        if circuit.is_open:
            return refuse_waiting(tx, at, self._partner_id, why_paused)
        return Answered([], is_all=True)

    def _or_open_writes(self, tx: Tx, at: datetime, due: datetime | None) -> datetime | None:
        """Also look again at writes whose end is not known, but not more than once a minute for that alone."""
        tenant = self._guard.connection.tenant if self._guard.connection else None
        ends = [entry.call_until for entry in ledger.still_open(tx, self._partner_id, tenant or "").values()]
        if not ends:
            return due
        later = max(min(ends), at + OPEN_WRITES_EVERY)
        return later if due is None else min(due, later)

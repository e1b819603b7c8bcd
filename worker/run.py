"""One run: while its lease holds, make a partner's ConnectWise match what is wanted, and say what became of it.

The run's own thread decides and stores; HTTP calls are made by a shared pool of threads, at most four at a time, and
no transaction is open meanwhile. The way of one addition: read, decide, open its ledger row, write, store.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from time import monotonic
from typing import Any

import structlog

from cwclient import Addition, CallBudget, QuantityNotKept
from messages import RightState, SyncResult
from store import Database, Tx, connections, leases, ledger, now
from store.connections import ConnectionVersion
from worker import catalog, checks, doctor, progress
from worker.budget import Budget
from worker.checks import CheckedMapping, ToCheck
from worker.desk import Desk, Task
from worker.doctor import CheckedConnection
from worker.jobs import Job, look
from worker.links import linked
from worker.outlook import Outlook
from worker.plan import Unusual
from worker.policy import NotStarted, RightRefused, given_up, judge
from worker.problems import problem
from worker.remote import Remote
from worker.settle import fail_all, is_outdated, log_answers, settle

CALLS_AT_ONCE = 4
SLICE_SECONDS = 30.0
# After this long what is due is looked up again: a newer push that has come meanwhile goes first.
LOOK_SECONDS = 2.0
FLUSH_SECONDS = 0.25
OPEN_WRITES_EVERY = timedelta(minutes=1)
# A flush takes at most this part of a run's time: 1 / FLUSH_SHARE.
FLUSH_SHARE = 8.0
OPEN_AT_ONCE = 16
RENEW_SECONDS = 5.0
LEASE_LEFT_FOR_PATCH = 5.0
# A PATCH starts within this time of its ledger row's opening; later it is decided anew.
START_WITHIN = 10.0

log = structlog.get_logger()


Edit = tuple[ConnectionVersion, RightState]
"""Whether ConnectWise takes writes under a version of the connection."""


class LeaseLost(Exception):
    """Another worker took over: whatever this run still holds is void."""


@dataclass(frozen=True)
class Tools:
    """What runs work with; one for all runs of a worker. `draining` set = start nothing new."""

    database: Database
    calls: Executor
    connect: Callable[[ConnectionVersion, Budget], Remote]
    call_budget: CallBudget
    retry_for: timedelta
    unusual: Unusual
    draining: Event = field(default_factory=Event)

    @property
    def call_seconds(self) -> float:
        """Counted from the opening of a ledger row: after this its PATCH is certainly over."""
        return START_WITHIN + self.call_budget.total + LEASE_LEFT_FOR_PATCH


class Run:
    """The state of one run; see the module."""

    def __init__(self, tools: Tools, partner_id: str, lease: leases.Lease, lease_until: float) -> None:
        self._tools, self._partner_id, self._token = tools, partner_id, lease.token
        self._budget = Budget(lease.budget_tokens, lease.budget_age)
        self._lease_until = lease_until
        self._slice_until = monotonic() + SLICE_SECONDS
        self._look_until = 0.0
        self._next_flush = monotonic() + FLUSH_SECONDS
        self._paused = False
        self._connection: ConnectionVersion | None = None
        self._remote: Remote | None = None
        self._has_looked = False
        self._jobs: deque[Job] = deque()
        self._to_check: deque[ToCheck] = deque()
        self._to_open: list[Job] = []
        self._to_write: deque[Job] = deque()
        self._finished: list[Job] = []
        self._checked: list[CheckedConnection | CheckedMapping] = []
        self._edit: Edit | None = None
        self._edit_stored: Edit | None = None
        self._is_outdated = False
        self._calls: dict[Future[Any], Callable[[Future[Any]], None]] = {}
        with tools.database.begin() as tx:
            self._clock = (now(tx), monotonic())
            self._outlook = Outlook(tools.retry_for, leases.health(tx, partner_id))
        self._outlook.pause_is_over(self._now())
        self._desk = Desk(tools.database, partner_id, self._now)

    def work(self) -> None:
        """Work until there is nothing to do or it is time to stop, then let the lease go."""
        while True:
            if not self._is_over():
                self._look()
            while self._has_work():
                self._step()
            if self._let_go():
                return

    def _now(self) -> datetime:
        """The database's clock."""
        at, measured = self._clock
        return at + timedelta(seconds=monotonic() - measured)

    def _moment(self) -> progress.Moment:
        return progress.Moment(self._now(), self._tools.retry_for, self._tools.unusual)

    def _is_over(self) -> bool:
        """Start nothing new: the slice is over, the worker drains, or ConnectWise is to be left alone."""
        ended = self._tools.draining.is_set() or monotonic() > self._slice_until
        return ended or self._paused or self._outlook.is_bad

    def _has_work(self) -> bool:
        begun = self._calls or self._to_write or self._waiting()
        return bool(begun) or self._may_begin()

    def _may_begin(self) -> bool:
        """Whether there is anything to be read for a question, a line or a check, and nothing that comes before it."""
        waits = self._jobs or self._to_check or self._desk.has_next
        in_time = monotonic() < self._look_until and not self._is_outdated
        return bool(waits) and in_time and not self._is_over()

    # --- look, call, store

    def _look(self) -> None:
        with self._tools.database.begin() as tx:
            seen = look(tx, self._partner_id, now(tx))
            asked = seen.connection is not None and seen.connection.check_due_at is not None
            agreements = doctor.mapped_agreements(tx, seen.connection) if seen.connection and asked else {}
        self._has_looked, self._is_outdated = True, False
        self._look_until = monotonic() + LOOK_SECONDS
        self._jobs.clear()
        self._to_check.clear()
        if self._remote is None or seen.connection != self._connection:
            self._connection = seen.connection
            connected = seen.connection is not None and seen.connection.tenant is not None
            self._remote = self._tools.connect(seen.connection, self._budget) if seen.connection and connected else None
        self._finished.extend(seen.decided)
        self._desk.take(seen.questions, seen.connection.tenant if seen.connection else None)
        if self._remote is None:
            self._checked.extend(checks.refused(one.mapping, problem("not_connected")) for one in seen.checks)
            return
        self._jobs.extend(seen.jobs)
        self._to_check.extend(seen.checks)
        if asked:
            self._call(lambda remote: doctor.check_connection(remote, agreements), self._connection_is_checked)

    def _connection_is_checked(self, future: Future[CheckedConnection]) -> None:
        found = future.result()
        self._checked.append(found)
        if found.error is not None:
            self._outlook.note_error(found.error, self._now())

    def _step(self) -> None:
        """Start calls, wait for some, take what came of them, store at the tick."""
        self._start_calls()
        renew_at = self._lease_until - leases.LEASE_SECONDS + RENEW_SECONDS
        self._wait(min(renew_at, self._next_flush) if self._waiting() else renew_at)
        at = monotonic()
        idle = not self._calls and not self._to_write
        full = at >= self._next_flush or len(self._to_open) >= OPEN_AT_ONCE
        if (self._waiting() and (idle or full)) or at >= renew_at:
            self._flush()

    def _wait(self, until: float) -> None:
        """Wait for calls, or for the budget to allow the next one, and take what came."""
        held_back = self._to_write or self._may_begin()
        if held_back and len(self._calls) < self._most_calls():
            until = min(until, monotonic() + self._budget.seconds_to_wait())
        timeout = max(0.0, until - monotonic())
        if self._calls:
            done, _ = wait(self._calls, timeout=timeout, return_when=FIRST_COMPLETED)
            for future in done:
                self._calls.pop(future)(future)
        elif held_back:
            self._tools.draining.wait(timeout)

    def _waiting(self) -> int:
        """How much there is to be stored."""
        return len(self._to_open) + len(self._finished) + len(self._checked) + self._desk.unsaved

    def _start_calls(self) -> None:
        while len(self._calls) < self._most_calls() and not self._budget.seconds_to_wait():
            if self._to_write:
                self._write(self._to_write.popleft())
            elif not self._may_begin():
                return
            elif (task := self._desk.next()) is not None:
                self._ask(task)
            elif self._jobs:
                self._read(self._jobs.popleft())
            else:
                self._check(self._to_check.popleft())

    def _most_calls(self) -> int:
        return CALLS_AT_ONCE if self._outlook.is_proven else 1

    def _call(self, call: Callable[[Remote], Any], then: Callable[[Future[Any]], None]) -> None:
        if self._remote is not None:
            self._calls[self._tools.calls.submit(call, self._remote)] = then

    def _ask(self, task: Task) -> None:
        def then(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                if task.call.asks:
                    self._outlook.note_answer(self._now())
                task.done(future.result())
            elif isinstance(error, RightRefused):
                # Lines may do without this right, so they find out by themselves.
                self._outlook.note_answer(self._now())
                task.failed(catalog.of_verdict(judge(error, attempts=0, chance=0.0)))
            elif isinstance(error, NotStarted):
                task.not_made()
            else:
                log.info("call.failed", error=str(error), error_type=type(error).__name__)
                task.failed(catalog.of_verdict(self._outlook.note_error(error, self._now())))

        self._call(lambda remote: task.call.make(remote, self._turn), then)

    def _turn(self) -> None:
        """Wait, in a thread of the pool, until a list's next page may be asked for. Raises NotStarted."""
        # A page came: lines need not wait for the whole list to see that ConnectWise answers and takes the keys.
        self._outlook.answered = True
        while True:
            stops = self._tools.draining.is_set() or self._paused or self._outlook.is_bad
            if stops or monotonic() > self._lease_until:
                raise NotStarted
            seconds = self._budget.seconds_to_wait()
            if not seconds:
                return
            self._tools.draining.wait(seconds)

    def _read(self, job: Job) -> None:
        agreement_id, addition_id = job.address

        def then(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                try:
                    progress.after_read(job, future.result(), self._moment())
                except Exception as bug:  # noqa: BLE001 - it fails this line, not the partner
                    error = bug
            if error is not None:
                self._fail(job, error)
                return
            self._outlook.note_answer(self._now())
            (self._finished if job.is_decided else self._to_open).append(job)

        def read(remote: Remote) -> Addition:
            if job.preview:
                job.agreement = remote.agreement_if_allowed(agreement_id)
            return remote.addition(agreement_id, addition_id)

        self._call(read, then)

    def _write(self, job: Job) -> None:
        agreement_id, addition_id = job.address
        connection = self._connection

        def patch(remote: Remote) -> Any:  # noqa: ANN401 - an Addition
            late = monotonic() > min(job.start_by, self._lease_until - LEASE_LEFT_FOR_PATCH)
            if late or self._is_outdated or self._outlook.is_bad or self._tools.draining.is_set():
                raise NotStarted
            return remote.set_quantity(agreement_id, addition_id, job.quantity)

        def then(future: Future[Any]) -> None:
            error = future.exception()
            if connection is not None and (error is None or isinstance(error, QuantityNotKept)):
                self._edit = (connection, "granted")
            elif connection is not None and isinstance(error, RightRefused):
                self._edit = (connection, "denied")
            if error is not None:
                self._fail(job, error)
                return
            self._outlook.note_answer(self._now())
            progress.after_write(job, future.result())
            self._finished.append(job)

        self._call(patch, then)

    def _check(self, to_check: ToCheck) -> None:
        mapping, at = to_check.mapping, self._now()

        def then(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                self._outlook.note_answer(self._now())
                self._checked.append(CheckedMapping(mapping, future.result()))
                return
            verdict = self._outlook.note_error(error, self._now())
            # One that was checked before keeps what was found then until it can be checked again.
            late = mapping.check is None and given_up(mapping.changed_at, self._now(), self._tools.retry_for)
            if isinstance(verdict, checks.PASSING) and not late:
                retry_at = self._now() + timedelta(seconds=verdict.seconds)
                self._checked.append(CheckedMapping(mapping, None, retry_at))
            else:
                self._checked.append(checks.refused(mapping, linked(verdict.problem, self._connection, mapping)))

        if mapping.cw_company_id is None:
            self._checked.append(CheckedMapping(mapping, checks.unmapped(mapping)))
        else:
            self._call(lambda remote: checks.check_mapping(remote, to_check, at, self._turn), then)

    def _fail(self, job: Job, error: BaseException) -> None:
        """Take the error of a job's call."""
        verdict = self._outlook.note_error(error, self._now(), attempts=job.attempts)
        if not isinstance(error, NotStarted):
            log.info("call.failed", error=str(error), error_type=type(error).__name__, addition=job.addition)
        # Once all has failed the line fails with the others, not alone.
        progress.after_error(job, error, self._outlook.stop or verdict, self._moment())
        self._finished.append(job)

    def _flush(self) -> None:
        """One transaction: settle what is finished, open the ledger rows of what is to be written, keep the lease."""
        finished, opening, checked = self._finished, self._to_open, self._checked
        self._finished, self._to_open, self._checked = [], [], []
        started = monotonic()
        with self._tools.database.begin() as tx:
            at = self._own(tx)
            flushed = settle(tx, at, finished, opening, partner_id=self._partner_id, connection=self._connection)
            for found in checked:
                found.save(tx)
            if self._edit and self._edit != self._edit_stored and doctor.note_edit(tx, *self._edit):
                self._edit_stored = self._edit
            tenant = (self._connection.tenant if self._connection else None) or ""
            entries = [progress.entry_of(job) for job in flushed.still_wanted]
            opened = ledger.open_entries(tx, self._partner_id, tenant, entries, self._tools.call_seconds)
            if flushed.outdated:
                self._desk.forget()
            self._desk.save(tx)
            self._store_learned(tx, outdated=flushed.outdated)
        # Many runs at once make each transaction slow: then store larger batches, less often.
        self._next_flush = started + max(FLUSH_SECONDS, FLUSH_SHARE * (monotonic() - started))
        self._lease_until = started + leases.LEASE_SECONDS
        # Another connection counts, or none: nothing more is asked with this one's keys.
        self._is_outdated = flushed.outdated
        for job in flushed.still_wanted:
            job.entry, job.start_by = opened[job.address], started + START_WITHIN
            self._to_write.append(job)
        log_answers(flushed.answers)

    def _own(self, tx: Tx) -> datetime:
        """Check and renew the lease, and own the partner for this transaction; the database's time."""
        renewed = leases.renew(tx, self._partner_id, self._token, self._budget.tokens)
        if renewed is None:
            self._lease_until = 0.0
            raise LeaseLost
        self._paused = renewed.paused
        return renewed.at

    def _store_learned(self, tx: Tx, *, outdated: bool) -> None:
        """Keep how ConnectWise does and where its API is; forget it if that was learned of another connection."""
        if outdated:
            self._outlook = Outlook(self._tools.retry_for, leases.health(tx, self._partner_id))
            return
        self._outlook.store(tx, self._partner_id)
        found = self._remote.discovery if self._remote else None
        if self._connection and found and found.moved and found.base_url and found.looked_up_at:
            connections.save_base_url(tx, self._connection, found.base_url, found.looked_up_at)
            found.moved = False

    def _let_go(self) -> bool:
        """Release the lease, unless more has come meanwhile; a wake-up is left for what is due later."""
        answers: list[SyncResult] = []
        with self._tools.database.begin() as tx:
            at = self._own(tx)
            outdated = self._has_looked and is_outdated(tx, self._partner_id, self._connection)
            if self._outlook.stop is not None and not outdated:
                answers = fail_all(tx, at, self._partner_id, self._outlook.stop)
            if not outdated:
                self._refuse_questions(tx)
            due = leases.next_due(tx, self._partner_id)
            if due is None:
                self._outlook.nobody_waits()
            self._store_learned(tx, outdated=outdated)
            if due is not None and due <= at and not self._is_over():
                return False
            due = self._or_open_writes(tx, at, due)
            if due is not None and not self._paused:
                leases.wake(tx, self._partner_id, max(due, self._outlook.health.paused_until or due))
            leases.release(tx, self._partner_id, self._token)
        log_answers(answers)
        return True

    def _refuse_questions(self, tx: Tx) -> None:
        """While ConnectWise is left alone say so to those who wait for an answer."""
        if self._outlook.stop is not None:
            catalog.refuse(tx, self._partner_id, self._outlook.stop.problem)
        elif self._paused:
            catalog.refuse(tx, self._partner_id, problem("paused"))
        elif self._outlook.is_bad:
            catalog.refuse(tx, self._partner_id, catalog.of_pause(self._outlook.health.paused_why))

    def _or_open_writes(self, tx: Tx, at: datetime, due: datetime | None) -> datetime | None:
        """Also look again at writes whose end is not known, but not more than once a minute for that alone."""
        tenant = self._connection.tenant if self._connection else None
        ends = [entry.call_until for entry in ledger.still_open(tx, self._partner_id, tenant or "").values()]
        if not ends:
            return due
        later = max(min(ends), at + OPEN_WRITES_EVERY)
        return later if due is None else min(due, later)

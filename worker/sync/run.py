"""One run: while its lease holds, make a partner's ConnectWise match what is wanted, and say what became of it.

The run's own thread decides and stores, `calls.py` calls; no transaction is open meanwhile. The way of one addition:
read, decide, open its ledger row, write, store.
"""

from collections import deque
from datetime import datetime, timedelta
from time import monotonic

import structlog

from messages import SyncResult
from store import StoreError, Tx, connections, leases, ledger, now
from worker.catalog import questions
from worker.catalog.scheduler import Scheduler
from worker.checks import connection_check, mapping_check
from worker.checks.mapping_check import ToCheck
from worker.clock import Clock
from worker.connectwise.circuit_breaker import CircuitBreaker
from worker.connectwise.rate_limit import RequestBudget
from worker.rules.problems import problem
from worker.sync import context, transitions
from worker.sync.calls import CallResults, Calls, Edit
from worker.sync.commit import is_outdated, log_answers, settle
from worker.sync.context import RunContext
from worker.sync.due_work import load_due_work
from worker.sync.fail_open_lines import fail_all, refuse
from worker.sync.job import Job

SLICE_SECONDS = 30.0
# After this long what is due is looked up again: a newer push that has come meanwhile goes first.
LOOK_SECONDS = 2.0
FLUSH_SECONDS = 0.25
OPEN_WRITES_EVERY = timedelta(minutes=1)
# A flush takes at most this part of a run's time: 1 / FLUSH_SHARE.
FLUSH_SHARE = 8.0
OPEN_AT_ONCE = 16
RENEW_SECONDS = 5.0

log = structlog.get_logger()


class LeaseLost(Exception):
    """Another worker took over: whatever this run still holds is void."""


class Run:
    """The state of one run; see the module."""

    def __init__(self, tools: RunContext, lease: leases.Lease, lease_until: float) -> None:
        self._tools, self._partner_id, self._token = tools, lease.partner_id, lease.token
        self._budget = RequestBudget(lease.budget_tokens, lease.budget_age)
        self._slice_until = monotonic() + SLICE_SECONDS
        self._look_until = 0.0
        self._next_flush = monotonic() + FLUSH_SECONDS
        self._has_looked = False
        self._jobs: deque[Job] = deque()
        self._to_check: deque[ToCheck] = deque()
        self._to_write: deque[Job] = deque()
        self._edit_stored: Edit | None = None
        self._clock = Clock()
        with tools.database.begin() as tx:
            self._clock.read(tx)
            circuit = CircuitBreaker(tools.retry_for, leases.health(tx, lease.partner_id))
        circuit.end_passed_pause(self._clock.now())
        self._calls = Calls(tools, self._budget, circuit, self._clock.now, lease_until)
        self._calls.is_paused = lease.paused
        self._desk = Scheduler(tools.database, lease.partner_id, self._clock.now)

    def work(self) -> None:
        """Work until there is nothing to do or it is time to stop, then let the lease go.

        Raises LeaseLost, StoreError, or whatever fault of ours is met twice.
        """
        try:
            while True:
                if not self._is_over():
                    self._look()
                while self._has_work():
                    self._step()
                    if self._only_asks() and monotonic() >= self._look_until:
                        self._look()
                if self._let_go():
                    return
        finally:
            # However it ended: what is still queued asks nothing more beside the next run.
            self._calls.lease_until = 0.0

    def _is_over(self) -> bool:
        """Start nothing new: the slice is over, the worker drains, or ConnectWise is to be left alone."""
        ended = self._tools.draining.is_set() or self._slice_is_over()
        return ended or self._calls.is_paused or self._calls.circuit.is_open

    def _slice_is_over(self) -> bool:
        """Others wait. A list begun in time is read to its end, and what comes meanwhile need not wait for that."""
        return monotonic() > self._slice_until and not self._calls.asks_since_before(self._slice_until)

    def _has_work(self) -> bool:
        begun = self._calls.under_way or self._to_write or self._waiting()
        return bool(begun) or self._may_begin()

    def _may_begin(self) -> bool:
        """True if there is anything to be read for a question, a line or a check, and nothing that comes before it."""
        waits = self._jobs or self._to_check or self._desk.has_next
        in_time = monotonic() < self._look_until and not self._calls.is_outdated
        return bool(waits) and in_time and not self._is_over()

    def _waiting(self) -> int:
        """Return the number of things to be stored."""
        return len(self._calls.found) + self._desk.unsaved

    def _only_asks(self) -> bool:
        """While a long list is read, what comes meanwhile need not wait: nothing of it can be under way."""
        return self._calls.only_asks and not self._to_write and not self._waiting() and not self._is_over()

    # --- look, call, store

    def _look(self) -> None:
        with self._tools.database.begin() as tx:
            seen = load_due_work(tx, self._partner_id, now(tx))
            asked = seen.connection is not None and seen.connection.check_due_at is not None
            agreements = connection_check.mapped_agreements(tx, seen.connection) if seen.connection and asked else {}
            if self._has_looked and is_outdated(tx, self._partner_id, self._calls.connection):
                self._desk.forget()
                self._store_learned(tx, outdated=True)
        self._calls.connect(seen.connection)
        self._has_looked, self._calls.is_outdated = True, False
        self._look_until = monotonic() + LOOK_SECONDS
        self._jobs.clear()
        self._to_check.clear()
        self._calls.found.finished.extend(seen.decided)
        self._desk.take(seen.questions, seen.connection.tenant if seen.connection else None)
        if self._calls.remote is None:
            self._calls.found.checked.extend(mapping_check.not_connected(one) for one in seen.checks)
            return
        self._jobs.extend(seen.jobs)
        self._to_check.extend(seen.checks)
        if asked:
            self._calls.check_connection(agreements)

    def _step(self) -> None:
        """Start calls, wait for some, take what came of them, store at the tick."""
        self._start_calls()
        renew_at = self._calls.lease_until - leases.LEASE_SECONDS + RENEW_SECONDS
        until = min(renew_at, self._next_flush) if self._waiting() else renew_at
        until = min(until, self._look_until) if self._only_asks() else until
        self._calls.wait(until, held_back=bool(self._to_write) or self._may_begin())
        at = monotonic()
        idle = not self._calls.under_way and not self._to_write
        full = at >= self._next_flush or len(self._calls.found.to_open) >= OPEN_AT_ONCE
        if (self._waiting() and (idle or full)) or at >= renew_at:
            self._flush()

    def _start_calls(self) -> None:
        while self._calls.has_room and not self._budget.seconds_to_wait():
            if self._to_write and self._calls.may_write:
                self._calls.write(self._to_write.popleft())
            elif not self._may_begin():
                return
            elif (task := self._desk.next()) is not None:
                self._calls.ask(task)
            elif self._jobs:
                self._calls.read(self._jobs.popleft())
            else:
                self._calls.check_mapping(self._to_check.popleft())

    def _flush(self) -> None:
        """Store what came of the calls; what a fault of ours keeps from being stored fails by itself."""
        found, self._calls.found = self._calls.found, CallResults()
        started = monotonic()
        try:
            self._store(found)
        except (LeaseLost, StoreError):
            raise
        except Exception:
            log.exception("flush.failed")
            self._store_singly(found)
        # Many runs at once make each transaction slow: then store larger batches, less often.
        self._next_flush = started + max(FLUSH_SECONDS, FLUSH_SHARE * (monotonic() - started))

    def _store_singly(self, found: CallResults) -> None:
        """One addition a transaction. What cannot be stored is taken like a failed call."""
        single = [(job, CallResults(finished=[job])) for job in found.finished]
        single += [(job, CallResults(to_open=[job])) for job in found.to_open]
        for job, alone in single:
            try:
                self._store(alone)
            except (LeaseLost, StoreError):
                raise
            except Exception as bug:  # noqa: BLE001 - it fails this line, not the partner
                self._calls.failed(job, bug)
                failed, self._calls.found = self._calls.found, CallResults()
                self._store(failed)
        self._store(CallResults(checked=found.checked))

    def _store(self, found: CallResults) -> None:
        """One transaction: settle what is finished, open the ledger rows of what is to be written, keep the lease."""
        started = monotonic()
        connection, edit = self._calls.connection, self._calls.edit
        with self._tools.database.begin() as tx:
            at = self._own(tx)
            flushed = settle(tx, at, found.finished, found.to_open, partner_id=self._partner_id, connection=connection)
            for one in found.checked:
                one.save(tx)
            noted = (
                edit
                if edit and edit != self._edit_stored and connection_check.record_edit_right(tx, *edit)
                else self._edit_stored
            )
            tenant = (connection.tenant if connection else None) or ""
            entries = [transitions.entry_of(job) for job in flushed.still_wanted]
            opened = ledger.open_entries(tx, self._partner_id, tenant, entries, self._tools.call_seconds)
            if flushed.outdated:
                self._desk.forget()
            self._desk.save(tx)
            self._store_learned(tx, outdated=flushed.outdated)
        self._calls.lease_until, self._edit_stored = started + leases.LEASE_SECONDS, noted
        # Another connection counts, or none: nothing more is asked with this one's keys.
        self._calls.is_outdated = flushed.outdated
        for job in flushed.still_wanted:
            job.entry, job.start_by = opened[job.address], started + context.START_WITHIN
            self._to_write.append(job)
        log_answers(flushed.answers)

    def _own(self, tx: Tx) -> datetime:
        """Check and renew the lease, and own the partner for this transaction; the database's time."""
        renewed = leases.renew(tx, self._partner_id, self._token, self._budget.tokens)
        if renewed is None:
            raise LeaseLost
        self._calls.is_paused = renewed.paused
        return renewed.at

    def _store_learned(self, tx: Tx, *, outdated: bool) -> None:
        """Keep how ConnectWise does and where its API is; forget it if that was learned of another connection."""
        if outdated:
            self._calls.circuit = CircuitBreaker(self._tools.retry_for, leases.health(tx, self._partner_id))
            return
        self._calls.circuit.store(tx, self._partner_id)
        found = self._calls.remote.discovery if self._calls.remote else None
        if self._calls.connection and found and found.is_new and found.base_url and found.looked_up_at:
            at, version, answered = found.looked_up_at, found.api_version, found.answered
            connections.save_discovery(tx, self._calls.connection, found.base_url, at, version, answered=answered)
            found.is_new = False

    def _let_go(self) -> bool:
        """Release the lease, unless more has come meanwhile, until the next of what waits is due."""
        answers: list[SyncResult] = []
        with self._tools.database.begin() as tx:
            at = self._own(tx)
            outdated = self._has_looked and is_outdated(tx, self._partner_id, self._calls.connection)
            if not outdated:
                if connection_check.is_due(tx, self._partner_id):
                    self._calls.circuit.half_open()
                answers = self._give_up(tx, at)
            due = leases.next_due(tx, self._partner_id)
            if due is None:
                self._calls.circuit.forget_outage()
            self._store_learned(tx, outdated=outdated)
            if due is not None and due <= at and not self._is_over():
                return False
            if self._has_looked:
                # One that found ConnectWise to be left alone has not come to where the one before it failed.
                self._calls.circuit.note_clean_run()
                self._calls.circuit.store(tx, self._partner_id)
            due = self._or_open_writes(tx, at, due)
            if due is not None:
                # What is due now waits its turn behind other partners.
                due = max(due, at, self._calls.circuit.open_until or due)
            # Who ends an operator's pause wakes the partner.
            leases.release(tx, self._partner_id, self._token, None if self._calls.is_paused else due)
        log_answers(answers)
        return True

    def _give_up(self, tx: Tx, at: datetime) -> list[SyncResult]:
        """Fail what cannot succeed. While ConnectWise is left alone say so to those who wait for an answer."""
        circuit, why_paused = self._calls.circuit, questions.problem_of_pause(self._calls.circuit.health.paused_why)
        if circuit.health.paused_why == "unreachable" and not self._calls.is_paused:
            circuit.give_up(why_paused, at)
        if circuit.stop is not None:
            return fail_all(tx, at, self._partner_id, circuit.stop)
        if self._calls.is_paused:
            return refuse(tx, at, self._partner_id, problem("paused"))
        if circuit.is_open:
            return refuse(tx, at, self._partner_id, why_paused)
        return []

    def _or_open_writes(self, tx: Tx, at: datetime, due: datetime | None) -> datetime | None:
        """Also look again at writes whose end is not known, but not more than once a minute for that alone."""
        tenant = self._calls.connection.tenant if self._calls.connection else None
        ends = [entry.call_until for entry in ledger.still_open(tx, self._partner_id, tenant or "").values()]
        if not ends:
            return due
        later = max(min(ends), at + OPEN_WRITES_EVERY)
        return later if due is None else min(due, later)

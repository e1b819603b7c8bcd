"""The flush: a run's transaction closes ledger rows of finished jobs, and answers their lines.

Called by `run`, which opens the ledger rows of the jobs that are to be written in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from messages import Problem, SyncResult
from store import Tx, decided_lines, ledger, pushes, targets
from store.connections import ConnectionVersion, Version
from store.database import after_commit
from store.decided_lines import LineNow
from store.mappings import Mapping
from store.pushes import Line, LineKey, Push
from store.targets import Holder, Target
from worker import metrics
from worker.rules.billable import is_billable
from worker.rules.links import with_link
from worker.rules.outcomes import FailPartner
from worker.rules.retry import REPORT_EVERY
from worker.sync import completion
from worker.sync.job import SUCCEEDED, Final, Job, Member, RetryAt
from worker.sync.line_dead_letters import dead_letter_lines
from worker.sync.results import money, result

log = structlog.get_logger()


@dataclass(frozen=True)
class Committed:
    """The results that leave with the transaction, and the jobs that may go on to be written.

    `is_outdated` = the connection has changed since: nothing was decided with what is stored now.
    """

    results: list[SyncResult]
    to_write: list[Job]
    is_outdated: bool = False


def commit_jobs(
    tx: Tx,
    at: datetime,
    finished: Sequence[Job],
    to_open: Sequence[Job],
    *,
    partner_id: str,
    connection: ConnectionVersion | None,
    current: Version | None,
) -> Committed:
    """Close the ledger rows of all these jobs, and answer the members of the finished ones.

    `to_open`: jobs that have been decided to be written, whose ledger rows the caller opens next. `connection`: the one
    that the jobs were decided with; `current`: the version of the newest, as `leases.renew` has read it.
    Call it with the lease's token checked. A line is answered, and an addition may be written, only if its target, its
    mapping and the connection are still those it was decided with; otherwise it stays due and is decided again.
    """
    ledger.close(tx, [closing for job in (*finished, *to_open) for closing in job.closings])
    ledger.leave_open(tx, [job.shown for job in finished if job.shown is not None])
    if current != version_of(connection):
        return Committed([], [], is_outdated=True)
    answered = [(job, member) for job in finished if job.outcome is not None for member in job.members]
    members = [*(member for _, member in answered), *(member for job in to_open for member in job.members)]
    if not members:
        return Committed([], [])
    flush = _Flush(tx, at, connection, members)
    for job, member in answered:
        if flush.still_holds(member):
            flush.take(job, member)
    flush.batch.store(tx, at, partner_id)
    return Committed(flush.batch.results, [job for job in to_open if all(map(flush.still_holds, job.members))])


def version_of(row: ConnectionVersion | Mapping | None) -> tuple[datetime, str] | None:
    """Return the version of a connection or mapping, if there is one."""
    return None if row is None else row.version


@dataclass
class Batch:
    """The results of a partner's lines and what follows from them, stored together; `retried`: targets due again."""

    results: list[SyncResult] = field(default_factory=list)
    retried: list[Target] = field(default_factory=list)
    _settled: list[tuple[Target, Holder | None]] = field(default_factory=list)
    _dead: dict[tuple[str, str], tuple[FailPartner, list[Line]]] = field(default_factory=dict)

    def finish(
        self,
        line: Line,
        target: Target | None,
        result: SyncResult,
        *,
        holder: Holder | None = None,
        dead_letter: FailPartner | None = None,
    ) -> None:
        """Settle the target by this result; `holder`: the addition that holds its count."""
        self.results.append(result)
        if dead_letter is not None:
            self._dead.setdefault((line.push.push_id, dead_letter.reason), (dead_letter, []))[1].append(line)
        if target is not None:
            self._settled.append((target, holder))

    def store(self, tx: Tx, at: datetime, partner_id: str) -> None:
        """Store it all; the results leave with the transaction."""
        for dead_letter, lines in self._dead.values():
            dead_letter_lines(tx, lines, dead_letter)
        targets.settle(tx, partner_id, self._settled)
        targets.postpone(tx, partner_id, self.retried)
        completion.record(tx, at, partner_id, self.results)


class _Flush:
    """The lines of a batch of members as they are now, and what becomes of them."""

    def __init__(self, tx: Tx, at: datetime, connection: ConnectionVersion | None, members: Sequence[Member]) -> None:
        self.batch = Batch()
        self._tx, self._at, self._connection = tx, at, connection
        self._tenant = connection.tenant if connection else None
        companies: dict[str, tuple[Push, set[str]]] = {}
        for member in members:
            push = member.line.push
            companies.setdefault(push.push_id, (push, set()))[1].add(member.line.company_id)
        self._lines: dict[LineKey, LineNow] = {}
        for push, company_ids in companies.values():
            self._lines |= decided_lines.now_of_push(tx, push, company_ids)

    def still_holds(self, member: Member) -> bool:
        """True if the decision about this line was made with what is stored now."""
        stored = self._lines[member.line.key]
        if member.target and (stored.target != member.target.version or stored.due_at is None):
            return False
        if not stored.is_open:
            return False
        if member.line.restore is not None:
            return True  # whatever the company is mapped to by now
        return stored.mapping == version_of(member.mapping)

    def take(self, job: Job, member: Member) -> None:
        """Note what follows from the job's outcome for this member."""
        stored = self._lines[member.line.key]
        line = replace(member.line, sequence=stored.sequence, attempts=stored.attempts)
        target = member.target and replace(
            member.target,
            attempts=stored.target_attempts or 0,
            first_failed_at=stored.first_failed_at,
            reported_at=stored.reported_at,
        )
        match job.outcome:
            case Final(problem=why, dead_letter_reason=reason) as end:
                attempts = 1 if target is None else target.attempts + 1
                self.batch.finish(
                    line,
                    target,
                    _result(job, line, self._linked(end, member), attempts),
                    holder=self._holder(job, member, end),
                    dead_letter=FailPartner(why, reason) if why is not None and reason is not None else None,
                )
            case RetryAt(until) if target is None:
                pushes.postpone_preview(self._tx, line, until)
            case RetryAt(until, None) if target is not None:
                self.batch.retried.append(replace(target, due_at=until))
            case RetryAt() as later if target is not None:
                why = later.problem and with_link(later.problem, self._connection, member.mapping)
                self._retry(line, target, replace(later, problem=why))

    def _linked(self, end: Final, member: Member) -> Final:
        def link(why: Problem) -> Problem:
            return with_link(why, self._connection, member.mapping)

        why = end.instead.get(member.line.company_id, end.problem)
        reasons, warnings = map(link, end.reasons), map(link, end.warnings)
        return replace(end, problem=why and link(why), reasons=tuple(reasons), warnings=tuple(warnings))

    def _holder(self, job: Job, member: Member, end: Final) -> Holder | None:
        """Return the addition that holds a count of ours now.

        After a revert it may be one that a push before wrote, or none.
        """
        ours = member.line.restore is None or job.quantity in job.written.quantities
        holds = ours and end.status in SUCCEEDED and self._tenant is not None and job.addition is not None
        return Holder(self._tenant or "", job.address) if holds else None

    def _retry(self, line: Line, target: Target, later: RetryAt) -> None:
        reported = target.reported_at is not None and self._at - target.reported_at < REPORT_EVERY
        if later.counts and later.problem is not None:
            after_commit(self._tx, metrics.RETRIES.labels(later.problem.code).inc)
        tried = replace(
            target,
            attempts=target.attempts + later.counts,
            first_failed_at=(target.first_failed_at or self._at) if later.counts else target.first_failed_at,
            reported_at=target.reported_at if reported else self._at,
            due_at=later.until,
        )
        self.batch.retried.append(tried)
        if not reported:
            self.batch.results.append(
                result(line, "retrying", attempts=tried.attempts, problem=later.problem, next_attempt_at=later.until)
            )


def _result(job: Job, line: Line, end: Final, attempts: int) -> SyncResult:
    actual = end.actual
    return result(
        line,
        end.status,
        attempts=attempts,
        problem=end.problem,
        before=end.before,
        wanted=job.quantity if actual is not None else None,
        after=end.after,
        billable=None if actual is None else is_billable(actual),
        money=money(actual, job.quantity) if end.status in {"preview", "held"} and job.preview and actual else None,
        perhaps_written=end.perhaps_written,
        reasons=end.reasons,
        warnings=end.warnings,
    )


def log_results(results: Sequence[SyncResult]) -> None:
    """Log the result of each line, once it is stored."""
    for message in results:
        event = f"line.{message.status}"
        log.info(
            event,
            correlation_id=message.correlation_id,
            company=message.company_id,
            period=message.period.key,
            push=message.push_id,
            mode=message.mode,
            before=message.quantity_before,
            after=message.quantity_after,
            problem=message.problem.code if message.problem else None,
        )

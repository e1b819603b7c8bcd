"""The flush: what became of a batch of jobs, in one transaction that owns the partner and its lease."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from messages import Problem, SyncResult
from store import Tx, connections, ledger, line_results, mappings, pushes, targets
from store.connections import ConnectionVersion
from store.mappings import Mapping
from store.pushes import Line
from store.targets import Holder, Target
from worker.rules.links import with_link
from worker.rules.outcomes import FailPartner
from worker.rules.retry import REPORT_EVERY
from worker.sync.job import GREEN, Final, Job, Member, RetryAt
from worker.sync.line_dead_letters import dead_letter_lines
from worker.sync.results import money, result

log = structlog.get_logger()


@dataclass(frozen=True)
class Flushed:
    """The answers that leave with the transaction, and the jobs that may go on to be written.

    `outdated` = the connection has changed since: nothing was decided with what is stored now.
    """

    answers: list[SyncResult]
    still_wanted: list[Job]
    outdated: bool = False


def settle(
    tx: Tx,
    at: datetime,
    finished: Sequence[Job],
    opening: Sequence[Job],
    *,
    partner_id: str,
    connection: ConnectionVersion | None,
) -> Flushed:
    """Close the ledger rows of all these jobs, answer the members of the finished ones.

    Call it with the lease's token checked. A line is answered, and an addition may be written, only if its wish, its
    mapping and the connection are still those it was decided with; otherwise it stays due and is decided again.
    """
    ledger.close(tx, [closing for job in (*finished, *opening) for closing in job.closings])
    ledger.leave_open(tx, [job.shown for job in finished if job.shown is not None])
    if is_outdated(tx, partner_id, connection):
        return Flushed([], [], outdated=True)
    answered = [(job, member) for job in finished if job.outcome is not None for member in job.members]
    members = [*(member for _, member in answered), *(member for job in opening for member in job.members)]
    if not members:
        return Flushed([], [])
    batch = _Batch(tx, at, partner_id, connection, members)
    for job, member in answered:
        if batch.still_holds(member):
            batch.take(job, member)
    batch.store()
    return Flushed(batch.answers, [job for job in opening if all(map(batch.still_holds, job.members))])


def is_outdated(tx: Tx, partner_id: str, connection: ConnectionVersion | None) -> bool:
    """True if another version of the connection is stored by now."""
    return _version(connections.current(tx, partner_id)) != _version(connection)


class _Batch:
    """The rows behind a batch of members as they are now, and what is to be stored for them."""

    def __init__(
        self, tx: Tx, at: datetime, partner_id: str, connection: ConnectionVersion | None, members: Sequence[Member]
    ) -> None:
        companies = {member.line.company_id for member in members}
        self._tx, self._now, self._partner_id, self._connection = tx, at, partner_id, connection
        self._tenant = connection.tenant if connection else None
        self._wishes = targets.of_companies(tx, partner_id, companies)
        self._mappings = mappings.of_companies(tx, partner_id, companies)
        self._lines = pushes.lines(tx, partner_id, {member.line.key for member in members})
        self._settled: list[tuple[Target, Holder | None]] = []
        self._postponed: list[Target] = []
        self._dead: dict[tuple[str, str], tuple[Problem, list[Line]]] = {}
        self.answers: list[SyncResult] = []

    def still_holds(self, member: Member) -> bool:
        """True if the decision about this line was made with what is stored now."""
        wish = member.wish and self._wishes.get(member.wish.key)
        if member.wish is not None and (wish is None or wish.version != member.wish.version or wish.due_at is None):
            return False
        if not self._lines[member.line.key].is_open:
            return False
        if member.line.restore is not None:
            return True  # whatever the company is mapped to by now
        return _version(self._mappings.get(member.line.company_id)) == _version(member.mapping)

    def take(self, job: Job, member: Member) -> None:
        """Note what follows from the job's outcome for this member."""
        line = self._lines[member.line.key]
        wish = member.wish and self._wishes[member.wish.key]
        match job.outcome:
            case Final() as end:
                attempts = 1 if wish is None else wish.attempts + 1
                self.answers.append(_answer(job, line, self._linked(end, member), attempts))
                if end.dead_letter_reason is not None and end.problem is not None:
                    self._dead.setdefault((line.push.push_id, end.dead_letter_reason), (end.problem, []))[1].append(
                        line
                    )
                if wish is not None:
                    self._settled.append((wish, self._holder(job, member, end)))
            case RetryAt(until) if wish is None:
                pushes.postpone_preview(self._tx, line, until)
            case RetryAt(until, None) if wish is not None:
                self._postponed.append(replace(wish, due_at=until))
            case RetryAt() as later if wish is not None:
                why = later.problem and with_link(later.problem, self._connection, member.mapping)
                self._retry(line, wish, replace(later, problem=why))

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
        holds = ours and end.status in GREEN and self._tenant is not None and job.addition is not None
        return Holder(self._tenant or "", job.address) if holds else None

    def _retry(self, line: Line, wish: Target, later: RetryAt) -> None:
        told = wish.reported_at is not None and self._now - wish.reported_at < REPORT_EVERY
        tried = replace(
            wish,
            attempts=wish.attempts + later.counts,
            first_failed_at=(wish.first_failed_at or self._now) if later.counts else wish.first_failed_at,
            reported_at=wish.reported_at if told else self._now,
            due_at=later.until,
        )
        self._postponed.append(tried)
        if not told:
            self.answers.append(
                result(line, "retrying", attempts=tried.attempts, problem=later.problem, next_attempt_at=later.until)
            )

    def store(self) -> None:
        """Store it all; the answers leave with the transaction."""
        for (_, reason), (problem, lines) in self._dead.items():
            dead_letter_lines(self._tx, lines, FailPartner(problem, reason))
        targets.settle(self._tx, self._partner_id, self._settled)
        targets.postpone(self._tx, self._partner_id, self._postponed)
        line_results.record(self._tx, self.answers)


def _answer(job: Job, line: Line, end: Final, attempts: int) -> SyncResult:
    actual = end.actual
    return result(
        line,
        end.status,
        attempts=attempts,
        problem=end.problem,
        before=end.before,
        wanted=job.quantity if actual is not None else None,
        after=end.after,
        money=money(actual, job.quantity) if end.status in {"preview", "held"} and job.preview and actual else None,
        reasons=end.reasons,
        warnings=end.warnings,
    )


def _version(row: ConnectionVersion | Mapping | None) -> tuple[datetime, str] | None:
    return None if row is None else row.version


def log_answers(answers: Sequence[SyncResult]) -> None:
    """Tell what became of each line, once it is stored."""
    for answer in answers:
        event = f"line.{answer.status}"
        log.info(
            event,
            correlation_id=answer.correlation_id,
            company=answer.company_id,
            period=answer.period.key,
            push=answer.push_id,
            mode=answer.mode,
            before=answer.quantity_before,
            after=answer.quantity_after,
            problem=answer.problem.code if answer.problem else None,
        )

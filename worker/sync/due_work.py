"""The due work of a run: targets and previews, in one job an addition; mappings to check; questions. Only reads.

Called by `run`. The jobs go to `calls`; those that are decided without ConnectWise go to `commit`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from store import (
    Tx,
    cancellations,
    catalog,
    confirmed_writes,
    connections,
    ledger,
    mappings,
    past_writes,
    pushes,
    reverts,
    targets,
)
from store.catalog import Question
from store.connections import ConnectionVersion
from store.leases import DueTimes
from store.mappings import Addition, Mapping
from store.pushes import Line, Push, Restore
from store.targets import Target
from worker.checks import mapping_check
from worker.checks.mapping_check import ToCheck
from worker.rules import quantities
from worker.rules.problems import problem
from worker.sync.job import SUCCEEDED, Final, Job, Member, RetryAt, wanted_of

# Lines read at a time: a huge push is worked through in pieces, so memory stays flat and the newest comes first.
BATCH = 100

# A line that waits for the mapping of another company on its addition is tried again after this.
SHARED_RETRY = timedelta(seconds=5)


@dataclass(frozen=True)
class DueWork:
    """The work that is due: jobs that need ConnectWise, jobs decided without, mappings to check, questions."""

    connection: ConnectionVersion | None
    jobs: list[Job]
    decided: list[Job]
    checks: list[ToCheck]
    questions: list[Question]

    @property
    def traceparents(self) -> set[str | None]:
        """The trace contexts of the pushes that it belongs to."""
        return {member.line.push.traceparent for job in (*self.jobs, *self.decided) for member in job.members}


def load_due_work(tx: Tx, partner_id: str, times: DueTimes) -> DueWork:
    """Read what is due by these times, at most BATCH of each kind; each addition is in one job only."""
    return _Loader(tx, partner_id, times).load()


class _Loader:
    """The due lines of a partner as members of jobs, and what decides about all of them."""

    def __init__(self, tx: Tx, partner_id: str, times: DueTimes) -> None:
        self._tx, self._partner_id, self._now, self._times = tx, partner_id, times.at, times
        connection = connections.current(tx, partner_id)
        self._tenant = connection.tenant if connection else None
        due = targets.due(tx, partner_id, times.at, BATCH) if times.is_due(times.target) else []
        lines = pushes.lines(tx, partner_id, {(target.push_id, target.company_id) for target in due})
        is_previewed = times.is_due(times.preview)
        previews = pushes.due_preview_lines(tx, partner_id, times.at, BATCH) if is_previewed else []
        self._restored = reverts.lines_by_addition(tx, partner_id, lines.values())
        for target, line in reverts.other_open_lines(tx, partner_id, self._restored, lines):
            # A sum is put back by one job, wherever the batch ends.
            due.append(target)
            lines[line.key] = line
        companies = {target.company_id for target in due} | {line.company_id for line in previews}
        self._setup = quantities.PartnerSetup(
            connection=connection,
            tenants=connections.tenant_history(tx, partner_id),
            mappings=mappings.of_companies(tx, partner_id, companies),
        )
        push_ids = {line.push.push_id for line in (*lines.values(), *previews)}
        self._cancelled = cancellations.of_pushes(tx, partner_id, push_ids)
        self._members = [self._member(lines[target.push_id, target.company_id], target) for target in due]
        self._members += [self._member(line, None) for line in previews]
        self._decided: list[Job] = []
        self._mapped: dict[Addition, list[Mapping]] = {}

    def load(self) -> DueWork:
        jobs = self._jobs(self._ready_members())
        self._prepare_checks(jobs)
        jobs.sort(key=_newest, reverse=True)
        if self._tenant is not None:
            jobs += self._open_writes(self._tenant, jobs)
        # A line may have its mapping checked: no other check of that beside it.
        with_lines = {shared.mapping.company_id for job in jobs if job.outcome is None for shared in job.sharing}
        return DueWork(
            connection=self._setup.connection,
            jobs=[job for job in jobs if job.outcome is None],
            decided=self._decided + [job for job in jobs if job.outcome is not None],
            checks=[check for check in self._due_checks() if check.mapping.company_id not in with_lines],
            questions=self._due_questions(),
        )

    def _due_checks(self) -> list[ToCheck]:
        if not self._times.is_due(self._times.mapping_check):
            return []
        return mapping_check.due(self._tx, self._partner_id, self._setup.connection, self._now)

    def _due_questions(self) -> list[Question]:
        is_asked = self._times.is_due(self._times.question)
        return catalog.due(self._tx, self._partner_id, BATCH) if is_asked else []

    def _member(self, line: Line, target: Target | None) -> Member:
        wanted = wanted_of(line, cancelled=line.push.push_id in self._cancelled)
        return Member(line=line, wanted=wanted, mapping=self._setup.mappings.get(line.company_id), target=target)

    def _ready_members(self) -> list[tuple[Addition, Member]]:
        """Return the members that may go to ConnectWise, each with its addition; decide the others."""
        under_way = ledger.companies_under_way(self._tx, self._partner_id) if self._cancelled else {}
        ready = []
        for member in self._members:
            if member.wanted.cancelled and member.wanted.company_id not in under_way:
                self._decided.append(Job([member], outcome=Final("cancelled", problem("cancelled"))))
                continue
            match quantities.find_addition(member.wanted, self._setup, self._now):
                case quantities.Proceed(addition):
                    ready.append((addition, member))
                case quantities.Wait(until):
                    self._decided.append(Job([member], outcome=RetryAt(until)))
                case quantities.Answer(status, why):
                    self._decided.append(Job([member], outcome=Final(status, why)))
        return ready

    def _jobs(self, ready: Iterable[tuple[Addition, Member]]) -> list[Job]:
        """One job an addition, of one push: a sum is formed only of what was asked together."""
        by_addition: dict[Addition, list[Member]] = {}
        for addition, member in sorted(ready, key=lambda item: _precedence(item[1])):
            first = by_addition.setdefault(addition, [member])[0]
            if member is not first and _precedence(member) == _precedence(first):
                by_addition[addition].append(member)
        sharing, written = self._sharing(by_addition), self._written(by_addition)
        self._mapped = sharing
        jobs = []
        for addition, members in by_addition.items():
            job = Job(
                members,
                addition=addition,
                preview=members[0].target is None,
                written=written.get(addition, quantities.WriteHistory()),
            )
            restore = members[0].line.restore
            if restore is None:
                job.sharing = [ToCheck(mapping) for mapping in sharing[addition]]
                self._set_quantity(job, sharing[addition])
            else:
                self._set_restored(job, restore)
            jobs.append(job)
        return jobs

    def _sharing(self, additions: Collection[Addition]) -> dict[Addition, list[Mapping]]:
        """Return the companies mapped to each addition under the connected tenant."""
        sharing: dict[Addition, list[Mapping]] = {addition: [] for addition in additions}
        for mapping in mappings.of_additions(self._tx, self._partner_id, additions):
            made_under = connections.tenant_at(self._setup.tenants, mapping.changed_at)
            if mapping.addition is not None and made_under == self._tenant:
                sharing[mapping.addition].append(mapping)
        return sharing

    def _written(self, additions: Collection[Addition]) -> dict[Addition, quantities.WriteHistory]:
        """Return the writes to these additions, and the periods that they hold without having been written."""
        tx, partner_id, tenant = self._tx, self._partner_id, self._tenant or ""
        written: dict[Addition, quantities.WriteHistory] = {}
        for write in past_writes.written_quantities(tx, partner_id, tenant, additions):
            before = written.get(write.addition, quantities.WriteHistory())
            days, last = before.newest_period, before.last
            written[write.addition] = quantities.WriteHistory(
                newest_period=max(days or write.days, write.days) if write.is_certain else days,
                quantities=before.quantities | {write.wanted, write.wanted if write.after is None else write.after},
                last=write.wanted if write.is_certain else last,
                perhaps=frozenset() if write.is_certain else before.perhaps | {(write.wanted, write.days)},
            )
        for addition, confirmed in confirmed_writes.last_of(tx, partner_id, tenant, additions).items():
            written[addition] = replace(written.get(addition, quantities.WriteHistory()), confirmed=confirmed)
        for addition, days in targets.held_periods(tx, partner_id, tenant, additions):
            before = written.get(addition, quantities.WriteHistory())
            written[addition] = replace(before, newest_period=max(before.newest_period or days, days))
        return written

    def _set_quantity(self, job: Job, sharing: list[Mapping]) -> None:
        """Set what the addition is to hold: one company's count, or the sum of all that share it."""
        first = job.members[0]
        if len(sharing) == 1:
            job.quantity = quantities.company_quantity(sharing[0], first.wanted.billable_users)
            return
        counts = {member.line.company_id: member.wanted.billable_users for member in job.members}
        others = {mapping.company_id: mapping for mapping in sharing if mapping.company_id not in counts}
        for company_id, line in self._lines_beside(first, others).items():
            if line.status == "cancelled":
                continue
            where = quantities.find_addition(wanted_of(line), replace(self._setup, mappings=others), self._now)
            if isinstance(where, quantities.Wait) and line.is_open:
                # Its mapping is on the way and may take it off this addition: the sum is not known yet.
                # It may arrive before this is stored, and then nothing would wake this line: try again soon.
                job.outcome = RetryAt(min(where.until, self._now + SHARED_RETRY))
                return
            if not isinstance(where, quantities.Proceed):
                continue  # Nobody knows whether its users belong to this addition.
            counts[company_id] = line.billable_users
            job.summed.append(line)
        match quantities.shared_quantity(sharing, counts):
            case quantities.Answer(status, why):
                job.outcome = Final(status, why)
            case quantity:
                job.quantity = quantity

    def _lines_beside(self, first: Member, company_ids: Collection[str]) -> dict[str, Line]:
        """Return the lines of the same push of these companies, by company, unless a newer push asked since."""
        push_id = first.wanted.push_id
        lines = pushes.lines(self._tx, self._partner_id, {(push_id, company_id) for company_id in company_ids})
        by_company = {line.company_id: line for line in lines.values()}
        if first.target is None:
            return by_company
        stored = targets.of_companies(self._tx, self._partner_id, by_company)
        newest = {target.company_id for target in stored.values() if target.push_id == push_id}
        return {company_id: line for company_id, line in by_company.items() if company_id in newest}

    def _set_restored(self, job: Job, restore: Restore) -> None:
        """Set the quantity that a revert puts back, and what the reverted push may have left."""
        push = job.members[0].line.push
        job.quantity = restore.quantity
        job.left = past_writes.quantities_left_by(
            self._tx, self._partner_id, push.reverts or "", restore.tenant, restore.addition
        )
        job.outcome = self._pushed_since(push, restore) or _held_revert(
            job, self._restored[push.push_id, restore.tenant, restore.addition]
        )

    def _pushed_since(self, revert: Push, restore: Restore) -> Final | None:
        """Fail if a push of another period has found the reverted quantity as it wants it since."""
        reverted = pushes.find(self._tx, self._partner_id, revert.reverts or "")
        newer = reverts.pushed_since(self._tx, self._partner_id, reverted) if reverted else {}
        period = newer.get((restore.tenant, restore.addition))
        return Final("failed", problem("pushed_since", period=period)) if period else None

    def _prepare_checks(self, jobs: Iterable[Job]) -> None:
        """Have at hand what the store knows of the mappings, should one have to be checked."""
        if self._setup.connection is None:
            return
        open_jobs = [job for job in jobs if job.outcome is None]
        sharing = [shared.mapping for job in open_jobs for shared in job.sharing]
        connection, tenants = self._setup.connection, self._setup.tenants
        prepared = iter(mapping_check.with_stored_facts(self._tx, connection, tenants, sharing, self._mapped))
        for job in open_jobs:
            job.sharing = [next(prepared) for _ in job.sharing]

    def _open_writes(self, tenant: str, jobs: list[Job]) -> list[Job]:
        """Take writes whose end is not known into their jobs. Returns jobs that only read, for the other writes."""
        by_addition = {job.addition: job for job in jobs if job.outcome is None}
        alone = []
        for addition, entry in ledger.still_open(self._tx, self._partner_id, tenant).items():
            job = by_addition.get(addition)
            if entry.call_until > self._now:
                if job is not None:
                    job.outcome = RetryAt(entry.call_until)
            elif job is not None:
                job.previous = entry
            else:
                alone.append(Job([], addition=addition, previous=entry))
        return alone


def _held_revert(job: Job, restored: Sequence[Line]) -> Final | None:
    """Hold a revert of a sum if a newer push has taken over one of its companies: it is put back only as a whole."""
    mine = {member.line.key for member in job.members}
    missing = [line.company_name for line in restored if line.key not in mine and line.status not in SUCCEEDED]
    return Final("held", problem("revert_incomplete", others=missing)) if missing else None


def _precedence(member: Member) -> tuple[bool, int, int, float, str]:
    """Return the sort key of members: applies before previews, the newest period first, of that the newest push."""
    wanted = member.wanted
    days = (-wanted.period.start.toordinal(), -wanted.period.end.toordinal())
    return (member.target is None, *days, -wanted.requested_at.timestamp(), wanted.push_id)


def _newest(job: Job) -> tuple[datetime, date]:
    """Return the sort key of jobs: the newest push first, be it a preview, then the newest period."""
    return max((member.wanted.requested_at, member.wanted.period.start) for member in job.members)

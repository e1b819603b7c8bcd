"""The work of a run: due wishes and previews, grouped by addition; mappings to check; questions. Read-only."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from store import Tx, cancellations, catalog, confirmed_writes, connections, ledger, mappings, pushes, reverts, targets
from store.catalog import Question
from store.connections import ConnectionVersion
from store.mappings import Addition, Mapping
from store.pushes import Line, Push, Restore
from store.reverts import LinesByAddition
from store.targets import Target
from worker.checks import mapping_check
from worker.checks.mapping_check import ToCheck
from worker.rules import quantities
from worker.rules.problems import problem
from worker.sync.job import SUCCEEDED, Final, Job, Member, RetryAt, wanted_of

BATCH = 100
"""Lines read at a time: a huge push is worked through in pieces, so memory stays flat and the newest comes first."""

SHARED_LOOK_AGAIN = timedelta(seconds=5)
"""A line that waits for the mapping of another company on its addition is looked at again after this."""


@dataclass(frozen=True)
class DueWork:
    """The work that a run sees: jobs that need ConnectWise, jobs answered without, mappings to check, questions."""

    connection: ConnectionVersion | None
    jobs: list[Job]
    decided: list[Job]
    checks: list[ToCheck]
    questions: list[Question]


def load_due_work(tx: Tx, partner_id: str, now: datetime) -> DueWork:
    """Read what is due, at most BATCH of each kind; each addition is in one job only."""
    connection = connections.current(tx, partner_id)
    due = targets.due(tx, partner_id, now, BATCH)
    lines = pushes.lines(tx, partner_id, {(target.push_id, target.company_id) for target in due})
    previews = pushes.due_preview_lines(tx, partner_id, now, BATCH)
    restored = reverts.lines_by_addition(tx, partner_id, lines.values())
    for target, line in reverts.other_open_lines(tx, partner_id, restored, lines):
        # A sum is put back by one job, wherever the batch ends.
        due.append(target)
        lines[line.key] = line
    settings = quantities.PartnerSetup(
        connection=connection,
        tenants=connections.tenant_history(tx, partner_id),
        mappings=mappings.of_companies(
            tx, partner_id, {target.company_id for target in due} | {line.company_id for line in previews}
        ),
    )
    decided: list[Job] = []
    going: list[tuple[Addition, Member]] = []
    cancelled = cancellations.of_pushes(tx, partner_id, {line.push.push_id for line in (*lines.values(), *previews)})
    under_way = ledger.companies_under_way(tx, partner_id) if cancelled else {}
    members = [_member(lines[target.push_id, target.company_id], settings, target, cancelled) for target in due]
    members += [_member(line, settings, None, cancelled) for line in previews]
    for member in members:
        if member.wanted.cancelled and member.wanted.company_id not in under_way:
            decided.append(Job([member], outcome=Final("cancelled", problem("cancelled"))))
            continue
        match quantities.find_addition(member.wanted, settings, now):
            case quantities.Proceed(addition):
                going.append((addition, member))
            case quantities.Wait(until):
                decided.append(Job([member], outcome=RetryAt(until)))
            case quantities.Answer(status, why):
                decided.append(Job([member], outcome=Final(status, why)))
    jobs = _grouped(tx, partner_id, settings, going, restored, now)
    _prepare(tx, connection, jobs)
    jobs.sort(key=_newest, reverse=True)
    tenant = connection.tenant if connection is not None else None
    if tenant is not None:
        jobs += _left_open(tx, partner_id, tenant, jobs, now)
    # A line may have its mapping checked: no other check of that beside it.
    with_lines = {one.mapping.company_id for job in jobs if job.outcome is None for one in job.sharing}
    due_checks = mapping_check.due(tx, partner_id, connection, now)
    return DueWork(
        connection=connection,
        jobs=[job for job in jobs if job.outcome is None],
        decided=decided + [job for job in jobs if job.outcome is not None],
        checks=[one for one in due_checks if one.mapping.company_id not in with_lines],
        questions=catalog.due(tx, partner_id, BATCH),
    )


def _member(line: Line, settings: quantities.PartnerSetup, target: Target | None, cancelled: Collection[str]) -> Member:
    wanted = wanted_of(line, cancelled=line.push.push_id in cancelled)
    return Member(line=line, wanted=wanted, mapping=settings.mappings.get(line.company_id), target=target)


def _grouped(
    tx: Tx,
    partner_id: str,
    settings: quantities.PartnerSetup,
    going: Iterable[tuple[Addition, Member]],
    restored: LinesByAddition,
    now: datetime,
) -> list[Job]:
    """One job an addition, of one push: a sum is formed only of what was asked together."""
    chosen: dict[Addition, list[Member]] = {}
    for addition, member in sorted(going, key=lambda item: _turn(item[1])):
        first = chosen.setdefault(addition, [member])[0]
        if member is not first and _turn(member) == _turn(first):
            chosen[addition].append(member)
    sharing = _sharing(tx, partner_id, settings, chosen)
    written = _written(tx, partner_id, settings, chosen)
    jobs = []
    for addition, members in chosen.items():
        job = Job(
            members,
            addition=addition,
            preview=members[0].target is None,
            written=written.get(addition, quantities.WriteHistory()),
        )
        restore = members[0].line.restore
        if restore is None:
            job.sharing = [ToCheck(mapping) for mapping in sharing[addition]]
            _set_quantity(tx, partner_id, settings, job, sharing[addition], now)
        else:
            job.quantity = restore.quantity
            push = members[0].line.push
            job.left = ledger.quantities_left_by(tx, partner_id, push.reverts or "", restore.tenant, addition)
            job.outcome = _pushed_since(tx, push, restore) or _held_revert(
                job, restored[push.push_id, restore.tenant, addition]
            )
        jobs.append(job)
    return jobs


def _prepare(tx: Tx, connection: ConnectionVersion | None, jobs: Iterable[Job]) -> None:
    """Have at hand what the store knows of the mappings, should one have to be checked."""
    if connection is None:
        return
    going = [job for job in jobs if job.outcome is None]
    ready = iter(mapping_check.with_stored_facts(tx, connection, [one.mapping for job in going for one in job.sharing]))
    for job in going:
        job.sharing = [next(ready) for _ in job.sharing]


def _pushed_since(tx: Tx, revert: Push, restore: Restore) -> Final | None:
    """A push of another period may have found what the revert takes back as it wants it, since that was accepted."""
    reverted = pushes.find(tx, revert.partner_id, revert.reverts or "")
    newer = reverts.pushed_since(tx, revert.partner_id, reverted) if reverted else {}
    period = newer.get((restore.tenant, restore.addition))
    return Final("failed", problem("pushed_since", period=period)) if period else None


def _held_revert(job: Job, together: Sequence[Line]) -> Final | None:
    """A sum is put back only as a whole: not if a newer push has taken over one of its companies."""
    mine = {member.line.key for member in job.members}
    missing = [line.company_name for line in together if line.key not in mine and line.status not in SUCCEEDED]
    return Final("held", problem("revert_incomplete", others=missing)) if missing else None


def _turn(member: Member) -> tuple[bool, int, int, float, str]:
    """Applies before previews, the newest period first, of that the newest push."""
    wanted = member.wanted
    days = (-wanted.period.start.toordinal(), -wanted.period.end.toordinal())
    return (member.target is None, *days, -wanted.requested_at.timestamp(), wanted.push_id)


def _newest(job: Job) -> tuple[datetime, date]:
    """Return the sort key of additions: the newest push first, be it a preview, then the newest period."""
    return max((member.wanted.requested_at, member.wanted.period.start) for member in job.members)


def _sharing(
    tx: Tx, partner_id: str, settings: quantities.PartnerSetup, additions: Collection[Addition]
) -> dict[Addition, list[Mapping]]:
    """The companies mapped to each addition under the connected tenant."""
    found: dict[Addition, list[Mapping]] = {addition: [] for addition in additions}
    tenant = settings.connection.tenant if settings.connection else None
    for mapping in mappings.of_additions(tx, partner_id, additions):
        if mapping.addition is not None and connections.tenant_at(settings.tenants, mapping.changed_at) == tenant:
            found[mapping.addition].append(mapping)
    return found


def _written(
    tx: Tx, partner_id: str, settings: quantities.PartnerSetup, additions: Collection[Addition]
) -> dict[Addition, quantities.WriteHistory]:
    """Return the writes to these additions, and the periods that they hold without having been written."""
    tenant = (settings.connection.tenant if settings.connection else None) or ""
    found: dict[Addition, quantities.WriteHistory] = {}
    for trace in ledger.written_quantities(tx, partner_id, tenant, additions):
        before = found.get(trace.addition, quantities.WriteHistory())
        days, last = before.newest_period, before.last
        found[trace.addition] = quantities.WriteHistory(
            newest_period=max(days or trace.days, trace.days) if trace.is_certain else days,
            quantities=before.quantities | {trace.wanted, trace.wanted if trace.after is None else trace.after},
            last=trace.wanted if trace.is_certain else last,
            perhaps=frozenset() if trace.is_certain else before.perhaps | {(trace.wanted, trace.days)},
        )
    for addition, write in confirmed_writes.last_of(tx, partner_id, tenant, additions).items():
        found[addition] = replace(found.get(addition, quantities.WriteHistory()), confirmed=write)
    for addition, days in targets.held_periods(tx, partner_id, tenant, additions):
        before = found.get(addition, quantities.WriteHistory())
        found[addition] = replace(before, newest_period=max(before.newest_period or days, days))
    return found


def _set_quantity(
    tx: Tx, partner_id: str, settings: quantities.PartnerSetup, job: Job, sharing: list[Mapping], now: datetime
) -> None:
    """Say what the addition is to hold: one company's count, or the sum of all that share it."""
    first = job.members[0]
    if len(sharing) == 1:
        job.quantity = quantities.company_quantity(sharing[0], first.wanted.billable_users)
        return
    counts = {member.line.company_id: member.wanted.billable_users for member in job.members}
    others = {mapping.company_id: mapping for mapping in sharing if mapping.company_id not in counts}
    asked = _asked(tx, partner_id, others, first)
    for company_id, line in asked.items():
        if line.status == "cancelled":
            continue
        may = quantities.find_addition(wanted_of(line), replace(settings, mappings=others), now)
        if isinstance(may, quantities.Wait) and line.is_open:
            # Its mapping is on the way and may take it off this addition: the sum is not known yet.
            # It may arrive before this is stored, and then nothing would wake this line: look again soon.
            job.outcome = RetryAt(min(may.until, now + SHARED_LOOK_AGAIN))
            return
        if not isinstance(may, quantities.Proceed):
            continue  # Nobody knows whether its users belong to this addition.
        counts[company_id] = line.billable_users
        job.summed.append(line)
    match quantities.shared_quantity(sharing, counts):
        case quantities.Answer(status, why):
            job.outcome = Final(status, why)
        case quantity:
            job.quantity = quantity


def _asked(tx: Tx, partner_id: str, company_ids: Collection[str], first: Member) -> dict[str, Line]:
    """The lines of the same push that say how many users these companies have, unless a newer push asked since."""
    lines = pushes.lines(tx, partner_id, {(first.wanted.push_id, company_id) for company_id in company_ids})
    asked = {line.company_id: line for line in lines.values()}
    if first.target is None:
        return asked
    stored = targets.of_companies(tx, partner_id, asked)
    newest = {target.company_id for target in stored.values() if target.push_id == first.wanted.push_id}
    return {company_id: line for company_id, line in asked.items() if company_id in newest}


def _left_open(tx: Tx, partner_id: str, tenant: str, jobs: list[Job], now: datetime) -> list[Job]:
    """Take writes whose end is not known into their jobs, or into jobs of their own that only read."""
    by_addition = {job.addition: job for job in jobs if job.outcome is None}
    alone = []
    for addition, entry in ledger.still_open(tx, partner_id, tenant).items():
        job = by_addition.get(addition)
        if entry.call_until > now:
            if job is not None:
                job.outcome = RetryAt(entry.call_until)
        elif job is not None:
            job.previous = entry
        else:
            alone.append(Job([], addition=addition, previous=entry))
    return alone

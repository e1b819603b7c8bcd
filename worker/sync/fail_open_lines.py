"""Giving up: all open lines of a partner fail, for a reason that each of them would meet.

Called by `run` and `supervisor`, again and again until all are answered; the lines are stored as those of a flush are,
see `commit`.
"""

from collections.abc import Mapping as Map
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from messages import Problem, SyncResult
from store import Tx, connections, ledger, mappings, pushes, targets
from store.connections import ConnectionVersion
from store.pushes import Line, LineKey
from store.targets import Target
from worker.catalog import questions
from worker.checks import mapping_check
from worker.rules import problems, quantities
from worker.rules.outcomes import FailPartner
from worker.sync import completion
from worker.sync.commit import Batch
from worker.sync.job import wanted_of
from worker.sync.results import result

# Lines of one transaction: they are in memory together, and the partner is locked until all of them are stored.
AT_ONCE = 2_000


class Answered(NamedTuple):
    """The results of one transaction. `is_all` False = more wait for the same answer, in another one."""

    results: list[SyncResult]
    is_all: bool


def fail_open_lines(tx: Tx, at: datetime, partner_id: str, failure: FailPartner) -> Answered:
    """Answer open lines of the partner `failed`, with one dead letter per push that holds exactly them.

    Checks of mappings that are due, previews and questions get the same answer.

    Lines that would not even have asked ConnectWise are `skipped` all the same. Lines that wait for a newer
    connection stay: it may bring the remedy. So do those whose change may still arrive; later they say so.
    """
    under_way = ledger.companies_under_way(tx, partner_id)
    connection = connections.current(tx, partner_id)
    failing = _failing(tx, at, partner_id, connection, under_way)
    skipped = _skipped(tx, at, partner_id, connection, [line for line, _ in failing])
    batch = Batch()
    for line, target in failing:
        if line.key in skipped:
            batch.finish(line, target, skipped[line.key])
            continue
        in_doubt = line.company_id in under_way
        why = problems.perhaps_written(failure.problem) if in_doubt else failure.problem
        failed = result(line, "failed", attempts=target.attempts + 1, problem=why, perhaps_written=in_doubt)
        batch.finish(line, target, failed, dead_letter=failure)
    batch.store(tx, at, partner_id)
    if len(failing) == AT_ONCE:
        return Answered(batch.results, is_all=False)
    checks = mappings.due_checks(tx, partner_id, at, AT_ONCE)
    for mapping in checks:
        mapping_check.failed_check(mapping, failure.problem).save(tx)
    if len(checks) == AT_ONCE:
        return Answered(batch.results, is_all=False)
    waiting = refuse_waiting(tx, at, partner_id, failure.problem)
    return waiting._replace(results=batch.results + waiting.results)


def refuse_waiting(tx: Tx, at: datetime, partner_id: str, why: Problem) -> Answered:
    """Answer with this problem what somebody waits for now: questions for choices, and previews.

    The results are those of the previews.
    """
    questions.answer_all(tx, partner_id, why)
    previews = pushes.due_preview_lines(tx, partner_id, at, limit=AT_ONCE)
    failed = [result(line, "failed", attempts=1, problem=why) for line in previews]
    completion.record(tx, at, partner_id, failed)
    return Answered(failed, is_all=len(previews) < AT_ONCE)


def _failing(
    tx: Tx, at: datetime, partner_id: str, connection: ConnectionVersion | None, under_way: Map[str, datetime]
) -> list[tuple[Line, Target]]:
    """The first open lines that are to fail, with their targets; the others are read too, but not kept."""
    failing: list[tuple[Line, Target]] = []
    last = None
    while len(failing) < AT_ONCE and (read := targets.unsettled(tx, partner_id, AT_ONCE, after=last)):
        last = read[-1].key
        lines = pushes.lines(tx, partner_id, {(target.push_id, target.company_id) for target in read})
        found = ((lines[target.push_id, target.company_id], target) for target in read)
        arrived = (
            (line, target)
            for line, target in found
            if _has_arrived(line.push.connection_changed_at, connection) and under_way.get(line.company_id, at) <= at
        )
        failing += islice(arrived, AT_ONCE - len(failing))
    return failing


def _skipped(
    tx: Tx, at: datetime, partner_id: str, connection: ConnectionVersion | None, lines: Sequence[Line]
) -> dict[LineKey, SyncResult]:
    """The results of those whose company is not mapped, or which are about another ConnectWise, also reverts."""
    settings = quantities.PartnerSetup(
        connection=connection,
        tenants=connections.tenant_history(tx, partner_id),
        mappings=mappings.of_companies(tx, partner_id, {line.company_id for line in lines}),
    )
    skipped = {}
    for line in lines:
        match quantities.find_addition(wanted_of(line), settings, at):
            case quantities.Answer(status, why) if status == "skipped" or why.code == "other_connectwise":
                skipped[line.key] = result(line, status, attempts=line.attempts + 1, problem=why)
    return skipped


def _has_arrived(changed_at: datetime | None, connection: ConnectionVersion | None) -> bool:
    """True if the version of the connection that the sender of a push saw is stored."""
    return changed_at is None or (connection is not None and changed_at <= connection.changed_at)

"""Giving up: all open lines of a partner fail at once, for a reason that each of them would meet.

Called by `run` and `supervisor`; the lines are stored as those of a flush are, see `commit`.
"""

from collections.abc import Sequence
from datetime import datetime

from messages import Problem, SyncResult
from store import Tx, connections, ledger, mappings, pushes, targets
from store.connections import ConnectionVersion
from store.pushes import Line, LineKey
from worker.catalog import questions
from worker.checks import mapping_check
from worker.rules import problems, quantities
from worker.rules.outcomes import FailPartner
from worker.sync import completion
from worker.sync.commit import Batch
from worker.sync.job import wanted_of
from worker.sync.results import result

MAX_LINES = 10_000


def fail_open_lines(tx: Tx, at: datetime, partner_id: str, failure: FailPartner) -> list[SyncResult]:
    """Answer every open line of the partner `failed`, with one dead letter per push that holds exactly them.

    Checks of mappings that are due, previews and questions get the same answer. Returns the results.

    Lines that would not even have asked ConnectWise are `skipped` all the same. Lines that wait for a newer
    connection stay: it may bring the remedy. So do those whose change may still arrive; later they say so.
    """
    under_way = ledger.companies_under_way(tx, partner_id)
    connection = connections.current(tx, partner_id)
    open_targets = {(target.push_id, target.company_id): target for target in targets.unsettled(tx, partner_id)}
    failing = {
        key: line
        for key, line in pushes.lines(tx, partner_id, open_targets.keys()).items()
        if _has_arrived(line.push.connection_changed_at, connection) and under_way.get(line.company_id, at) <= at
    }
    skipped = _skipped(tx, at, partner_id, connection, list(failing.values()))
    batch = Batch()
    for key, line in failing.items():
        target = open_targets[key]
        if key in skipped:
            batch.finish(line, target, skipped[key])
            continue
        in_doubt = line.company_id in under_way
        why = problems.perhaps_written(failure.problem) if in_doubt else failure.problem
        failed = result(line, "failed", attempts=target.attempts + 1, problem=why, perhaps_written=in_doubt)
        batch.finish(line, target, failed, dead_letter=failure)
    for mapping in mappings.due_checks(tx, partner_id, at, MAX_LINES):
        mapping_check.failed_check(mapping, failure.problem).save(tx)
    batch.store(tx, at, partner_id)
    return batch.results + refuse_waiting(tx, at, partner_id, failure.problem)


def refuse_waiting(tx: Tx, at: datetime, partner_id: str, why: Problem) -> list[SyncResult]:
    """Answer with this problem what somebody waits for now: questions for choices, and previews.

    Returns the results of the previews.
    """
    questions.answer_all(tx, partner_id, why)
    results: list[SyncResult] = []
    while previews := pushes.due_preview_lines(tx, partner_id, at, limit=MAX_LINES):
        failed = [result(line, "failed", attempts=1, problem=why) for line in previews]
        completion.record(tx, at, partner_id, failed)
        results += failed
    return results


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

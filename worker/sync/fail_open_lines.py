"""Giving up: what is open fails at once, for one reason that all of it would meet."""

from collections.abc import Sequence
from datetime import datetime

from messages import Problem, SyncResult
from store import Tx, connections, ledger, line_results, mappings, pushes, targets
from store.connections import ConnectionVersion
from store.pushes import Line, LineKey
from worker.catalog import questions
from worker.checks import mapping_check
from worker.rules import problems, quantities
from worker.rules.outcomes import FailPartner
from worker.sync.job import wanted_of
from worker.sync.line_dead_letters import dead_letter_lines
from worker.sync.results import result

MAX_LINES = 10_000


def fail_all(tx: Tx, at: datetime, partner_id: str, verdict: FailPartner) -> list[SyncResult]:
    """Answer every open line of the partner `failed`, with one dead letter per push that holds exactly them.

    Checks of mappings that are due, previews and questions get the same answer.

    Those that would not even have asked ConnectWise are `skipped` all the same. Lines that wait for a newer
    connection stay: it may bring the remedy. So do those whose change may still arrive; later they say so.
    """
    under_way = ledger.companies_under_way(tx, partner_id)
    connection = connections.current(tx, partner_id)
    open_wishes = {(wish.push_id, wish.company_id): wish for wish in targets.unsettled(tx, partner_id)}
    failing = {
        key: line
        for key, line in pushes.lines(tx, partner_id, open_wishes.keys()).items()
        if _seen_by(line.push.connection_changed_at, connection) and under_way.get(line.company_id, at) <= at
    }
    skipped = _skipped(tx, at, partner_id, connection, list(failing.values()))
    by_push: dict[str, list[Line]] = {}
    for line in failing.values():
        if line.key not in skipped:
            by_push.setdefault(line.push.push_id, []).append(line)
    for lines in by_push.values():
        dead_letter_lines(tx, lines, verdict)
    for mapping in mappings.due_checks(tx, partner_id, at, MAX_LINES):
        mapping_check.failed_check(mapping, verdict.problem).save(tx)
    failed = [
        skipped.get(key)
        or result(
            line,
            "failed",
            attempts=open_wishes[key].attempts + 1,
            problem=problems.perhaps_written(verdict.problem) if line.company_id in under_way else verdict.problem,
        )
        for key, line in failing.items()
    ]
    targets.settle(tx, partner_id, [(open_wishes[key], None) for key in failing])
    line_results.record(tx, failed)
    return failed + refuse(tx, at, partner_id, verdict.problem)


def refuse(tx: Tx, at: datetime, partner_id: str, why: Problem) -> list[SyncResult]:
    """Answer with this problem what somebody waits for now: questions for choices, and previews."""
    questions.answer_all(tx, partner_id, why)
    failed: list[SyncResult] = []
    while previews := pushes.due_preview_lines(tx, partner_id, at, limit=MAX_LINES):
        said = [result(line, "failed", attempts=1, problem=why) for line in previews]
        line_results.record(tx, said)
        failed += said
    return failed


def _skipped(
    tx: Tx, at: datetime, partner_id: str, connection: ConnectionVersion | None, lines: Sequence[Line]
) -> dict[LineKey, SyncResult]:
    """The answers of those whose company is not mapped, or which are about another ConnectWise, also reverts."""
    settings = quantities.PartnerSetup(
        connection=connection,
        tenants=connections.tenant_history(tx, partner_id),
        mappings=mappings.of_companies(tx, partner_id, {line.company_id for line in lines}),
    )
    found = {}
    for line in lines:
        match quantities.find_addition(wanted_of(line), settings, at):
            case quantities.Answer(status, why) if status == "skipped" or why.code == "other_connectwise":
                found[line.key] = result(line, status, attempts=line.attempts + 1, problem=why)
    return found


def _seen_by(seen: datetime | None, connection: ConnectionVersion | None) -> bool:
    return seen is None or (connection is not None and seen <= connection.changed_at)

"""The message that a push has ended: its lines as a sum that closes, and the mapped companies that were not in it.

It is sent by the transaction that gives the last line of the push its final status, after all results of the push.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from math import fsum

import structlog

from messages import (
    Absent,
    AbsentCompany,
    LineCounts,
    LineStatus,
    PushCompleted,
    SyncResult,
    Tally,
    Totals,
    UnmappedCompany,
    derived_id,
)
from messages.completions import NAMED
from store import Database, StoreError, Tx, absent, completions, line_results, now
from store.database import after_commit
from store.line_results import LineTotal
from store.pushes import Push
from worker import metrics
from worker.rules.problems import problem
from worker.sync.results import number

# The term of the sum that a line of each final status is counted in; see `term`.
TERMS: Mapping[LineStatus, str] = {
    "updated": "written",
    "preview": "written",
    "unchanged": "unchanged",
    "held": "held",
    "skipped": "skipped",
    "failed": "failed",
    "superseded": "superseded",
    "cancelled": "cancelled",
}


OVERLOOKED_AT_ONCE = 20

log = structlog.get_logger()


def record(tx: Tx, at: datetime, partner_id: str, results: Iterable[SyncResult]) -> None:
    """Record and send results of a partner's open lines, and complete each push that has no open line any more.

    `at`: the database's time. Call it inside `Database.partner(partner_id)`, or with the lease renewed in this
    transaction.
    """
    counts = Counter[tuple[str, str]]()
    _complete(tx, at, partner_id, line_results.record(tx, at, _counted(results, counts)))
    after_commit(tx, partial(metrics.count_lines, counts))


def _counted(results: Iterable[SyncResult], counts: Counter[tuple[str, str]]) -> Iterator[SyncResult]:
    """Yield the results, and count them by status and problem on their way."""
    for result in results:
        counts[result.status, result.problem.code if result.problem else ""] += 1
        yield result


def complete_overlooked(database: Database) -> None:
    """Complete pushes that an earlier version has answered and not completed. Raises StoreError."""
    with database.begin() as tx:
        overlooked = completions.overlooked(tx)
    for partner_id, push_id in overlooked[:OVERLOOKED_AT_ONCE]:
        try:
            with database.partner(partner_id) as tx:
                _complete(tx, now(tx), partner_id, [push_id])
        except StoreError:
            raise
        except Exception:
            log.exception("push.not_completed", partner=partner_id, push=push_id)


def _complete(tx: Tx, at: datetime, partner_id: str, push_ids: Collection[str]) -> None:
    ended = completions.ended(tx, partner_id, push_ids)
    missing = absent.of_pushes(tx, partner_id, [push.push_id for push in ended if push.mode != "revert"])
    for push in ended:
        tallies = line_results.totals_by_status(tx, push.partner_id, push.push_id)
        completions.complete(tx, completed(tx, push, tallies, missing.get(push.push_id)))
        after_commit(tx, partial(_log_end, push, tallies, (at - push.accepted_at).total_seconds()))


def _log_end(push: Push, tallies: Mapping[str, LineTotal], seconds: float) -> None:
    """Tell the story of a push in one line."""
    log.info(
        "push.completed",
        partner=push.partner_id,
        push=push.push_id,
        correlation_id=push.correlation_id,
        period=push.period.key,
        mode=push.mode,
        seconds=round(seconds, 3),
        lines=push.line_count,
        retries=sum(tally.retries for tally in tallies.values()),
        **{status: tally.lines for status, tally in tallies.items()},
    )


def completed(
    tx: Tx, push: Push, tallies: Mapping[str, LineTotal], missing: Sequence[absent.UnpushedCompany] | None
) -> PushCompleted:
    """Return the message that says how a push ended. All its lines have their final status, with these `tallies`.

    `missing`: the mapped companies that have no line in it; None = it is a revert.
    """
    counts = {status: tally.lines for status, tally in tallies.items()}
    # What a revert skips was not written; that says nothing about mappings.
    skips = bool(counts.get("skipped")) and push.mode != "revert"
    unmapped = line_results.lines_with_status(tx, push.partner_id, push.push_id, "skipped") if skips else []
    return PushCompleted(
        id=derived_id(push.requested_at, "push.completed", push.partner_id, push.push_id, str(push.round)),
        partner_id=push.partner_id,
        correlation_id=push.correlation_id,
        causation_id=push.message_id,
        traceparent=push.traceparent,
        push_id=push.push_id,
        mode=push.mode,
        period=push.period,
        status="cancelled" if counts.get("cancelled") else "completed",
        problem=problem("cancelled") if counts.get("cancelled") else None,
        counts=LineCounts(**counts),
        totals=totals((term(status, changes=True), *tally[:2]) for status, tally in _split(tx, push, tallies)),
        unmapped=tuple(
            UnmappedCompany(
                company_id=line.company_id, company_name=line.company_name, billable_users=line.billable_users
            )
            for line in unmapped
            if line.billable_users
        ),
        absent=None if missing is None else absent_message(missing),
    )


def term(status: str, *, changes: bool) -> str:
    """Return the term that a line is counted in; of a preview that of the push. `changes`: its quantity would."""
    return "unchanged" if status == "preview" and not changes else TERMS[status]  # type: ignore[index]


def totals(terms: Iterable[tuple[str, int, int]]) -> Totals:
    """Sum (term, companies, users), where a term may come several times, and all of them as `imported`."""
    sums: dict[str, tuple[int, int]] = {}
    for name, companies, users in terms:
        for key in (name, "imported"):
            before = sums.get(key, (0, 0))
            sums[key] = (before[0] + companies, before[1] + users)
    return Totals(**{key: Tally(companies=companies, users=users) for key, (companies, users) in sums.items()})


def absent_message(missing: Sequence[absent.UnpushedCompany]) -> Absent:
    """Return the part about these companies: they are mapped and were not pushed, and some are still billed."""
    known = [company.quantity for company in missing if company.quantity is not None]
    return Absent(
        companies=len(missing),
        quantity=number(fsum(known)) or 0,
        unknown=len(missing) - len(known),
        not_billed=sum(company.not_billed for company in missing),
        named=tuple(
            AbsentCompany(
                company_id=company.company_id,
                company_name=company.company_name,
                quantity=number(company.quantity),
                not_billed=company.not_billed,
            )
            for company in missing[:NAMED]
        ),
    )


def _split(tx: Tx, push: Push, tallies: Mapping[str, LineTotal]) -> list[tuple[str, LineTotal]]:
    """Return the tallies by status, with those lines of a preview apart that would change nothing."""
    previewed = tallies.get("preview")
    if previewed is None:
        return list(tallies.items())
    same = line_results.previewed_unchanged(tx, push.partner_id, push.push_id)
    others = [(status, tally) for status, tally in tallies.items() if status != "preview"]
    changed = LineTotal(previewed.lines - same.lines, previewed.users - same.users)
    return [*others, ("preview", changed), ("unchanged", same)]

"""The lines of a push with their results: what they say, and JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messages import FINAL, BillingPeriod, SyncResult
from store import Tx, company_status, line_results, pushes

MARK_OF_STATUS = {
    "updated": "good",
    "unchanged": "good",
    "reverted": "none",
    "preview": "none",
    "held": "bad",
    "failed": "bad",
    "skipped": "none",
    "superseded": "none",
    "cancelled": "none",
    "retrying": "waiting",
    "pending": "waiting",
}
"""The mark of each status, in the order of summaries. `reverted` replaces updated and unchanged for reverts."""

QUANTITIES = (
    "quantity_before",
    "quantity_wanted",
    "quantity_after",
    "unit_price",
    "less_included",
    "difference",
    "amount",
    "amount_difference",
)


@dataclass(frozen=True)
class ResultRow:
    """The line of one company; `result` is None before the first result."""

    company_id: str
    company_name: str
    billable_users: int
    result: SyncResult | None

    @property
    def status(self) -> str:
        """The line's status, `pending` before the first result."""
        return self.result.status if self.result else "pending"

    @property
    def is_open(self) -> bool:
        """True until the line has its final result."""
        return self.status not in FINAL

    @property
    def shown(self) -> str:
        """The status to display: `reverted` for a successful line of a revert."""
        is_revert = self.result is not None and self.result.reverts is not None
        return "reverted" if is_revert and MARK_OF_STATUS[self.status] == "good" else self.status


def of_push(tx: Tx, partner_id: str, push_id: str) -> list[ResultRow]:
    """The lines of one push, by company id."""
    return [ResultRow(*answer) for answer in line_results.of_push(tx, partner_id, push_id)]


def of_partner(tx: Tx, partner_id: str) -> list[ResultRow]:
    """The newest result of each company (Sync Status), by company id."""
    results = company_status.of_partner(tx, partner_id)
    lines = pushes.lines(tx, partner_id, {(result.push_id, result.company_id) for result in results})
    asked = [(lines.get((result.push_id, result.company_id)), result) for result in results]
    return [
        ResultRow(line.company_id, line.company_name, line.billable_users, result) for line, result in asked if line
    ]


def of_period(tx: Tx, partner_id: str, period: BillingPeriod) -> tuple[list[ResultRow], set[str]]:
    """The newest result about a period of each company, as Sync Status would show it before later periods were pushed.

    Also the companies of which only a later period's result is kept. What was dismissed is in neither.
    """
    newest = of_partner(tx, partner_id)
    found = [row for row in newest if row.result and row.result.period.key == period.key]
    later = {row.company_id for row in newest if row.result and row.result.period.start >= period.start}
    later -= {row.company_id for row in found}
    kept = [ResultRow(*line) for line in line_results.pushed_in_period(tx, partner_id, period.key, later)]
    return [*found, *kept], later - {row.company_id for row in kept}


def has_trouble(rows: Sequence[ResultRow]) -> bool:
    """True if a line failed or is held: exit code 1."""
    return any(row.status in {"failed", "held"} for row in rows)


def as_json(rows: Sequence[ResultRow]) -> dict[str, Any]:
    """Counts per status, unmapped companies with users, and the lines."""
    return {
        "counts": dict(Counter(row.status for row in rows)),
        "unmapped": [_head(row) for row in unmapped(rows)],
        "lines": [_head(row) | _tail(row) for row in rows],
    }


def unmapped(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Skipped lines with users, whose companies are not mapped."""
    skipped = [row for row in rows if row.status == "skipped" and row.billable_users]
    # A revert skips lines that were not written, whatever their mapping.
    return [row for row in skipped if row.result and row.result.problem and row.result.problem.code != "not_written"]


def _head(row: ResultRow) -> dict[str, Any]:
    return {"company_id": row.company_id, "company_name": row.company_name, "billable_users": row.billable_users}


def _tail(row: ResultRow) -> dict[str, Any]:
    if row.result is None:
        return {"status": row.status}
    names = {
        "push_id",
        "mode",
        "reverts",
        "period",
        "requested_at",
        "status",
        "attempts",
        "next_attempt_at",
        "problem",
        "reasons",
        "warnings",
    }
    names |= {*QUANTITIES}
    return row.result.model_dump(mode="json", include=names)


def quantities(result: SyncResult | None) -> str:
    """`18 → 21`: the quantities before and after, in a preview before and wanted; one number if they are equal."""
    if result is None or result.quantity_before is None:
        return ""
    after = result.quantity_wanted if result.status in {"preview", "held"} else result.quantity_after
    if after is None or after == result.quantity_before:
        return f"{result.quantity_before:,}"
    return f"{result.quantity_before:,} → {after:,}"

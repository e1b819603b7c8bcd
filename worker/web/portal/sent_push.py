"""A push, a preview or a revert as its page shows it, also while it runs and before a worker has it."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from messages import Absent, Problem
from store import Tx, completions, mappings, now, pushes
from store.pushes import Push
from worker.coordination import preview_totals, results, totals
from worker.coordination.confirmations import is_confirmable
from worker.coordination.preview_totals import PreviewTotals
from worker.coordination.results import ResultRow
from worker.web.portal import overtaken, sums
from worker.web.portal.sums import Term

TROUBLES = {
    "failed": "failed",
    "held": "held",
    "skipped": "not mapped",
    "superseded": "superseded",
    "cancelled": "cancelled",
}
GOOD = frozenset({"updated", "unchanged", "reverted"})
TITLES = {"apply": "Push", "preview": "Preview", "revert": "Revert"}

OLD = timedelta(minutes=10)
"""So long a number that ConnectWise said is taken for its state now."""


@dataclass(frozen=True)
class SentPush:
    """`push` None = no worker has it yet."""

    push_id: str
    push: Push | None
    rows: list[ResultRow]
    terms: list[Term]
    absent: Absent | None
    problem: Problem | None
    preview: PreviewTotals | None
    held_preview: PreviewTotals | None
    read_at: datetime | None
    is_old: bool
    asked_mode: str
    overtaken: str
    """Why the lines must not be pushed as they are shown; empty if they may be."""
    retry_overtaken: str
    """The same for the lines of a retry of those that failed."""
    preview_overtaken: str
    """The same for another preview of all lines."""

    @property
    def is_over(self) -> bool:
        """True once all lines have their final result."""
        return self.push is not None and self.push.state != "accepted"

    @property
    def mode(self) -> str:
        """apply, preview or revert."""
        return self.push.mode if self.push else self.asked_mode

    @property
    def title(self) -> str:
        """Its kind and its period, in words."""
        if self.push is None:
            return TITLES[self.mode]
        return f"{TITLES[self.push.mode]} of {self.push.period.key}"

    @property
    def done(self) -> int:
        """The lines with a final result."""
        return sum(not row.is_open for row in self.rows)

    @property
    def failed(self) -> list[ResultRow]:
        """The lines that failed."""
        return [row for row in self.rows if row.status == "failed"]

    @property
    def confirmable(self) -> list[ResultRow]:
        """The lines that are held until somebody confirms them."""
        held = [row for row in self.rows if row.status == "held" and row.result is not None]
        return [row for row in held if row.result is not None and is_confirmable(row.result)]

    @property
    def ended_well(self) -> bool:
        """True if every line is what was asked for."""
        return all(row.shown in GOOD for row in self.rows)

    @property
    def troubles(self) -> list[tuple[int, str]]:
        """How many lines ended otherwise, and how."""
        counts = Counter(row.status for row in self.rows)
        words = TROUBLES | ({"skipped": "not written"} if self.mode == "revert" else {})
        return [(counts[status], word) for status, word in words.items() if counts[status]]

    @property
    def compared(self) -> int:
        """The lines whose addition was read."""
        return sum(row.result is not None and row.result.quantity_before is not None for row in self.rows)

    @property
    def written(self) -> int:
        """The lines that changed ConnectWise."""
        return sum(row.status == "updated" for row in self.rows)


def read(tx: Tx, partner: str, push_id: str, asked_mode: str = "apply") -> SentPush:
    """Read it from the store; `asked_mode` is its mode as long as no worker has it."""
    push = pushes.find(tx, partner, push_id)
    # A push that is accepted between the two readings has its lines at the next look.
    rows = results.of_push(tx, partner, push_id) if push else []
    rows = sorted(rows, key=lambda row: row.company_name.casefold())
    ended = completions.of_push(tx, partner, push_id) if push else None
    missing = totals.absent_from(tx, partner, push_id) if push else None
    is_preview = push is not None and push.mode == "preview"
    known = mappings.of_companies(tx, partner, {row.company_id for row in rows}) if is_preview else {}
    additions = {company_id: mapping.addition for company_id, mapping in known.items()}
    read_at = min(
        (row.result.time for row in rows if row.result and row.result.quantity_before is not None), default=None
    )
    too_old, not_again, not_previewed = _overtaken(tx, push, rows)
    return SentPush(
        push_id,
        push,
        rows,
        sums.of_push(totals.sum_of(rows), is_preview=is_preview, is_over=push is not None and push.state != "accepted"),
        missing[1] if missing and missing[1].companies else None,
        ended.problem if ended is not None and ended.status == "refused" else None,
        preview_totals.totals(rows, additions, "preview") if is_preview else None,
        preview_totals.totals(rows, additions, "held") if is_preview else None,
        read_at,
        read_at is not None and now(tx) > read_at + OLD,
        asked_mode,
        too_old,
        not_again,
        not_previewed,
    )


def _overtaken(tx: Tx, push: Push | None, rows: list[ResultRow]) -> tuple[str, str, str]:
    """Why the lines must not be pushed as shown, those that failed not be retried, and all not be previewed again.

    Of a push that runs, or a revert, nothing is pushed again.
    """
    if push is None or push.mode == "revert" or push.state == "accepted":
        return "", "", ""
    again = to_retry(tx, push.partner_id, rows)
    failed = [row for row in rows if row.company_id in again]
    return (
        overtaken.why(tx, push, rows),
        overtaken.why(tx, push, failed, "retry") if failed else "",
        overtaken.why(tx, push, rows, "preview"),
    )


def to_retry(tx: Tx, partner: str, rows: list[ResultRow]) -> set[str]:
    """The companies that failed. A sum is formed of one push, so these bring all that share their additions."""
    failed = {row.company_id for row in rows if row.status == "failed"}
    known = mappings.of_companies(tx, partner, {row.company_id for row in rows})
    shared = {known[one].addition for one in failed if one in known} - {None}
    return failed | {company_id for company_id, mapping in known.items() if mapping.addition in shared}

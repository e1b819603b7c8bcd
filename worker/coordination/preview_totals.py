"""The totals of a preview: lines that change, users, and money, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from messages import SyncResult
from store.mappings import Addition
from worker.coordination.confirmations import is_confirmable
from worker.coordination.results import ResultRow


@dataclass(frozen=True)
class PreviewTotals:
    """Totals of a preview. If several companies share an addition, its users and its money count once.

    Money is in the currencies of the agreements, as ConnectWise does not say which; `unpriced`: additions without one.
    """

    lines: int
    changing: int
    users_before: float
    users_after: float
    amount_before: float
    amount_after: float
    unpriced: int


def totals(rows: Sequence[ResultRow], additions: Mapping[str, Addition | None], status: str) -> PreviewTotals:
    """Add up the lines of this status; `additions`: which addition each company is mapped to.

    A line that is held for what nobody can confirm changes nothing.
    """
    every = [row.result for row in rows if row.result is not None and row.status == status]
    results = [result for result in every if status != "held" or is_confirmable(result)]
    found: dict[object, SyncResult] = {}
    for result in results:
        found[additions.get(result.company_id) or result.company_id] = result
    each = list(found.values())
    priced = [(result.amount, result.amount_difference or 0) for result in each if result.amount is not None]
    return PreviewTotals(
        lines=len(results),
        changing=sum(bool(result.difference) for result in results),
        users_before=sum(result.quantity_before or 0 for result in each),
        users_after=sum(result.quantity_wanted or 0 for result in each),
        amount_before=round(sum(amount - difference for amount, difference in priced), 2),
        amount_after=round(sum(amount for amount, _ in priced), 2),
        unpriced=len(each) - len(priced),
    )


def as_json(rows: Sequence[ResultRow], additions: Mapping[str, Addition | None]) -> dict[str, Any]:
    """The same for programs."""
    return {"preview": asdict(totals(rows, additions, "preview")), "held": asdict(totals(rows, additions, "held"))}

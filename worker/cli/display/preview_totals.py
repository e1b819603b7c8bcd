"""The totals of a preview in one sentence: lines that change, users, and money, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from messages import SyncResult
from store.mappings import Addition
from worker.cli.confirmations import is_confirmable
from worker.cli.display.output import paragraph, plural
from worker.cli.results import ResultRow


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


def show(rows: Sequence[ResultRow], additions: Mapping[str, Addition | None]) -> None:
    """Print what the push would change, and what it would besides if all that is held were confirmed."""
    paragraph(f"This push: {_sentence(totals(rows, additions, 'preview'))}")
    if (held := totals(rows, additions, "held")).lines:
        paragraph(f"Held, until confirmed: {_sentence(held)}")


def as_json(rows: Sequence[ResultRow], additions: Mapping[str, Addition | None]) -> dict[str, Any]:
    """The same for programs."""
    return {"preview": asdict(totals(rows, additions, "preview")), "held": asdict(totals(rows, additions, "held"))}


def _sentence(of: PreviewTotals) -> str:
    users = f"users {of.users_before:,g} → {of.users_after:,g} ({of.users_after - of.users_before:+,g})"
    money = f"amount {of.amount_before:,.2f} → {of.amount_after:,.2f} ({of.amount_after - of.amount_before:+,.2f})"
    unpriced = f", without {plural(of.unpriced, 'addition')} that ConnectWise names no price of" if of.unpriced else ""
    return f"{of.changing:,} of {plural(of.lines, 'line')} change; {users}; {money}{unpriced}."

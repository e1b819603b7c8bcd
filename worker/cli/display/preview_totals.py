"""The totals of a preview in one sentence each."""

from collections.abc import Mapping, Sequence

from store.mappings import Addition
from worker.cli.display.output import paragraph, plural
from worker.coordination.preview_totals import PreviewTotals, totals
from worker.coordination.results import ResultRow


def show(rows: Sequence[ResultRow], additions: Mapping[str, Addition | None]) -> None:
    """Print what the push would change, and what it would besides if all that is held were confirmed."""
    paragraph(f"This push: {_sentence(totals(rows, additions, 'preview'))}")
    if (held := totals(rows, additions, "held")).lines:
        paragraph(f"Held, until confirmed: {_sentence(held)}")


def _sentence(of: PreviewTotals) -> str:
    users = f"users {of.users_before:,g} → {of.users_after:,g} ({of.users_after - of.users_before:+,g})"
    money = f"amount {of.amount_before:,.2f} → {of.amount_after:,.2f} ({of.amount_after - of.amount_before:+,.2f})"
    unpriced = f", without {plural(of.unpriced, 'addition')} that ConnectWise names no price of" if of.unpriced else ""
    return f"{of.changing:,} of {plural(of.lines, 'line')} change; {users}; {money}{unpriced}."

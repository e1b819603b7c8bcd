"""Results of push lines as a table with a short label per row, and the causes below it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from messages import Problem
from worker.cli.display import causes
from worker.cli.display.causes import Cause, of_problem
from worker.cli.display.output import complain, mark, note, paragraph, plural, safe, say, table
from worker.cli.display.wording import title
from worker.coordination.confirmations import is_confirmable
from worker.coordination.results import MARK_OF_STATUS, ResultRow, quantities, unmapped

COLUMNS = ("Company", "Users", "ConnectWise", "")


def show(rows: Sequence[ResultRow], waits: str | None = None, *, by_period: bool = False) -> None:
    """Print the table and, below it, the causes, how many lines of each status there are, and who is not billed.

    `waits`: what holds up the lines that are open; `by_period`: a table for each period and day of the push.
    """
    if periods := {row.result.period.key for row in rows if row.result is not None and row.result.mode == "preview"}:
        say(f"Preview of {', '.join(periods)}: nothing is written.")
    once = causes.connection_wide(_problem(row) for row in rows)
    shown = [row for row in rows if (why := _problem(row)) is None or causes.wording_of(why) not in once]
    if len(waiting := [row for row in shown if row.result is None]) > causes.FEW:
        shown = [row for row in shown if row not in waiting]
    for pushed, some in (_by_period(shown) if by_period else {"": shown}).items():
        if pushed:
            say(pushed)
        if some:
            last = "Result, amount" if any(row.result and row.result.amount is not None for row in some) else "Result"
            table((*COLUMNS, last), [_cells(row, with_id=by_period) for row in some], right=("Users", "ConnectWise"))
            say()
    if found := [cause for row in rows for cause in _causes(row)]:
        causes.show(found)
        say()
    if still_open := sum(row.is_open for row in rows):
        note("waiting", [f"{plural(still_open, 'company waits', 'companies wait')}.", *([waits] if waits else [])])
        say()
    paragraph(summary(rows))
    unbilled = unmapped(rows)
    if unbilled:
        users = sum(row.billable_users for row in unbilled)
        names = causes.listed([f"{row.company_name} ({row.billable_users})" for row in unbilled])
        paragraph(f"Not billed, as not mapped: {plural(users, 'user')} of {names}")


def _problem(row: ResultRow) -> Problem | None:
    """The first cause, whose title is the label of the row."""
    if row.result is None:
        return None
    return next(iter(row.result.reasons), row.result.problem)


def _by_period(rows: Sequence[ResultRow]) -> dict[str, list[ResultRow]]:
    """Rows by period and day of the push, the newest first."""
    asked = [(row, row.result) for row in rows if row.result is not None]
    found: dict[str, list[ResultRow]] = {}
    for row, result in sorted(asked, key=lambda one: (one[1].period.start, one[1].requested_at.date()), reverse=True):
        found.setdefault(f"Period {result.period.key}, pushed {result.requested_at:%Y-%m-%d}", []).append(row)
    return {pushed: sorted(some, key=lambda row: row.company_id) for pushed, some in found.items()}


def _cells(row: ResultRow, *, with_id: bool) -> list[Text]:
    return [
        safe(f"{row.company_name} ({row.company_id})" if with_id else row.company_name),
        Text(str(row.billable_users)),
        safe(quantities(row.result)),
        mark(MARK_OF_STATUS[row.shown]),
        safe(_label(row)),
    ]


def _label(row: ResultRow) -> str:
    """The status in a word, or the title of the first cause, and the amount; of a preview without a cause just that."""
    why = _problem(row)
    label = row.shown if why is None else title(why)
    if why is not None and row.status in {"held", "retrying"}:
        label = f"{row.status}: {label}"
    if row.result is None or row.result.amount is None:
        return label
    change = f" ({row.result.amount_difference:+,.2f})" if row.result.amount_difference else ""
    amount = f"{row.result.amount:,.2f}{change}"
    return amount if why is None and row.status == "preview" else f"{label}, {amount}"


def _causes(row: ResultRow) -> Iterator[Cause]:
    """Yield the reasons that the row is as it is: each reason, else the problem; then its warnings."""
    if row.result is None:
        return
    first = _problem(row)
    for problem in row.result.reasons or ((first,) if first is not None else ()):
        yield of_problem(MARK_OF_STATUS[row.shown], row.company_name, problem, labelled=problem is first)
    for problem in row.result.warnings:
        yield of_problem("warning", row.company_name, problem, labelled=False)


def summary(rows: Sequence[ResultRow]) -> str:
    """Return the number of lines in each status: `25 companies: 12 updated, 2 failed`."""
    counts = Counter(row.shown for row in rows)
    by_status = ", ".join(f"{counts[status]} {status}" for status in MARK_OF_STATUS if counts[status])
    return f"{plural(len(rows), 'company', 'companies')}: {by_status or 'nothing yet'}"


def say_confirmable(rows: Sequence[ResultRow]) -> None:
    """Say which of these companies are held until they are confirmed, and how to confirm them."""
    held = [row for row in rows if row.result and row.status == "held" and is_confirmable(row.result)]
    if held:
        names = causes.listed([f"{row.company_id} ({row.company_name})" for row in held])
        complain(f"Held until confirmed: {names}. Push again with --confirm COMPANY, or --confirm all.")

"""Causes, as footnotes of a table: each told once, with all that is known of it and what to do, and whose it is.

A row of the table has only the title of its cause.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from messages import Problem
from worker.cli.display.output import note, say
from worker.cli.display.wording import detail, fix, title
from worker.rules.problems import OF_CONNECTION

NAMED = 20
"""Rows that are named in a sentence."""

FEW = 5
"""Rows in which a problem of the connection stands; that of more is told below the table only."""

Words = tuple[str, str, str | None]


@dataclass(frozen=True)
class Cause:
    """The reason that `who` has such a row. `kind` is a key of MARKS; `labelled`: the title stands in the row."""

    kind: str
    who: str
    title: str
    detail: str = ""
    fix: str = ""
    where: str = ""
    link: str = ""
    labelled: bool = True


def of_problem(kind: str, who: str, problem: Problem, *, labelled: bool = True, more: str = "") -> Cause:
    """The cause that a problem is; `more` is known of this row besides."""
    said = f'ConnectWise said: "{problem.said}"' if problem.said else ""
    do = {"nobody": "", "connectwise_administrator": "Fix (an administrator of ConnectWise): "}.get(
        problem.who or "", "Fix: "
    )
    return Cause(
        kind,
        who,
        title(problem),
        detail=" ".join(part for part in (detail(problem), said, more) if part),
        fix=f"{do}{fix(problem)}",
        where=f"Where in ConnectWise: {problem.where}" if problem.where else "",
        link=problem.link or "",
        labelled=labelled,
    )


def connection_wide(problems: Iterable[Problem | None]) -> set[Words]:
    """The words of those problems of the connection that more than FEW rows have alike."""
    counts = Counter(
        wording_of(problem) for problem in problems if problem is not None and problem.code in OF_CONNECTION
    )
    return {said for said, count in counts.items() if count > FEW}


def wording_of(problem: Problem) -> Words:
    """Return a problem's words, whichever record it links to."""
    return (problem.code, problem.detail, problem.said)


def show(causes: Sequence[Cause], rows: str = "companies") -> None:
    """Print each cause below its table, what stops something first; `rows` is what several of its rows are called."""
    groups: dict[tuple[str, str, str], list[Cause]] = {}
    for cause in sorted(causes, key=lambda cause: cause.kind != "bad"):
        groups.setdefault((cause.kind, cause.title, cause.fix), []).append(cause)
    for (kind, titled, _), group in groups.items():
        whose = {cause.who for cause in group}
        head = f"{group[0].who}: {titled}." if len(whose) == 1 else f"{len(whose):,} {rows}: {titled}."
        note(kind, [head, *_details(group), *(line for line in (group[0].fix, group[0].where) if line)])
        if group[0].link and len({cause.link for cause in group}) == 1:
            # In one piece, so that a terminal can open it; of several records `--json` has the links.
            say(f"  {group[0].link}")


def _details(group: Sequence[Cause]) -> list[str]:
    """Return each detail once, with all to whom just that happened."""
    whose: dict[str, list[str]] = {}
    for cause in group:
        whose.setdefault(cause.detail, []).append(cause.who)
    alone = len({cause.who for cause in group}) == 1
    known = alone or (len(whose) == 1 and all(cause.labelled for cause in group))
    return [_told(detail, names, known=known) for detail, names in whose.items() if detail or not known]


def _told(detail: str, names: Sequence[str], *, known: bool) -> str:
    if known or all(name in detail for name in names):
        return detail
    return f"{listed(names)}: {detail}" if detail else listed(names)


def listed(names: Sequence[str]) -> str:
    """Some names in a row, and how many there are besides."""
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED:,} more" if len(names) > NAMED else shown

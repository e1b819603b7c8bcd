"""Footnotes of a table: each cause once, with its details, its fix, and the rows that have it.

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
"""The number of rows that a sentence names."""

FEW = 5
"""Up to this number of rows show a problem of the connection; that of more rows is shown below the table only."""

Words = tuple[str, str, str | None]


@dataclass(frozen=True)
class Cause:
    """A cause of the row of `who`. `kind` is a key of MARKS; `labelled`: the row shows the title."""

    kind: str
    who: str
    title: str
    detail: str = ""
    fix: str = ""
    where: str = ""
    link: str = ""
    labelled: bool = True


def of_problem(kind: str, who: str, problem: Problem, *, labelled: bool = True, more: str = "") -> Cause:
    """Make a cause of a problem; `more` are further details of this row."""
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
    """The wording of those problems of the connection that more than FEW rows share."""
    counts = Counter(
        wording_of(problem) for problem in problems if problem is not None and problem.code in OF_CONNECTION
    )
    return {said for said, count in counts.items() if count > FEW}


def wording_of(problem: Problem) -> Words:
    """The wording of a problem, by which rows share it whichever records it links to."""
    return (problem.code, problem.detail, problem.said)


def show(causes: Sequence[Cause], rows: str = "companies") -> None:
    """Print each cause, errors first; `rows` is the plural noun for the rows."""
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
    """Each detail once, with the names of the rows that have it."""
    whose: dict[str, list[str]] = {}
    for cause in group:
        whose.setdefault(cause.detail, []).append(cause.who)
    alone = len({cause.who for cause in group}) == 1
    known = alone or (len(whose) == 1 and all(cause.labelled for cause in group))
    return [_detail_line(detail, names, known=known) for detail, names in whose.items() if detail or not known]


def _detail_line(detail: str, names: Sequence[str], *, known: bool) -> str:
    if known or all(name in detail for name in names):
        return detail
    return f"{listed(names)}: {detail}" if detail else listed(names)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED:,} more" if len(names) > NAMED else shown

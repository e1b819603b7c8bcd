"""A sum that closes: imported users = written + unchanged + held + not mapped + failed, and what is not pushed yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.coordination.totals import WORDS, Sum
from worker.web.portal.rows import CompanyRow


@dataclass(frozen=True)
class Term:
    """A term of the sum: companies and their users; `kind` colours it."""

    name: str
    companies: int
    users: int
    kind: str = ""


KINDS = {"written": "good", "unchanged": "good", "held": "warn", "skipped": "warn", "failed": "bad"}
NO_RESULT = "no result kept"
"""A later period was pushed, so whether this one was is not known."""
ALWAYS = ("written", "unchanged", "held", "skipped", "failed")


def of_rows(rows: Iterable[CompanyRow]) -> list[Term]:
    """The terms for the imported companies, `imported` first."""
    imported = [row for row in rows if row.users is not None]
    found = {name: [0, 0] for name in (*ALWAYS, NO_RESULT, "not pushed yet")}
    for row in imported:
        term = found[_term(row)]
        term[0] += 1
        term[1] += row.users or 0
    first = Term("imported", len(imported), sum(row.users or 0 for row in imported))
    others = [
        Term(WORDS.get(name, name), companies, users, KINDS.get(name, ""))
        for name, (companies, users) in found.items()
        if name in ALWAYS or companies
    ]
    return [first, *others]


def of_push(found: Sum, *, is_preview: bool, is_over: bool) -> list[Term]:
    """The terms of a push, as its lines give them; `waiting` is among them until all have ended, be it 0."""
    words = WORDS | ({"written": "to be written"} if is_preview else {})
    always = (*ALWAYS, "waiting") if not is_over else ALWAYS
    named = [name for name in words if name in always or name in found]
    terms = [Term(words[name], *found.get(name, (0, 0)), KINDS.get(name, "")) for name in named]
    return [Term("imported", *found["imported"]), *terms]


def compared(rows: Sequence[CompanyRow], period: str) -> str:
    """How many companies were compared with ConnectWise, and why not more."""
    imported = [row for row in rows if row.users is not None]
    done = [row for row in imported if _is_compared(row)]
    others = [row for row in imported if not _is_compared(row)]
    why = {
        "not mapped": sum(not row.is_mapped for row in imported),
        "failed": sum(row.state == "failed" for row in others),
        NO_RESULT: sum(_term(row) == NO_RESULT for row in imported),
        "not pushed": sum(_term(row) == "not pushed yet" for row in others),
    }
    said = ", ".join(f"{count:,} {word}" for word, count in why.items() if count)
    if not imported:
        return f"Nothing is imported for {period} yet, so nothing is compared."
    return f"{len(done):,} of {len(imported):,} compared with ConnectWise{f': {said}' if said else ''}."


def _is_compared(row: CompanyRow) -> bool:
    return row.is_current and row.result is not None and row.result.quantity_before is not None


def _term(row: CompanyRow) -> str:
    if row.state == "unmapped":
        return "skipped"
    if row.state in {"held", "failed"}:
        return row.state
    if row.state == "good" and row.result is not None:
        return "written" if row.result.status == "updated" else "unchanged"
    return NO_RESULT if row.state == "new" and row.has_later else "not pushed yet"

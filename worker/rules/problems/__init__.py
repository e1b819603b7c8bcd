"""The catalogue of problems: each says what happened, what to do about it, where in ConnectWise, and who can.

The codes are a contract: portals and support key on them. ConnectWise's own words stand beside ours (`said`), never in
them. `make docs` writes docs/problems.md from it. The kinds stand in one file a subject.
"""

from collections.abc import Iterable
from datetime import datetime

from messages import Problem, plain_text
from worker.rules.problems.connection import CONNECTION
from worker.rules.problems.general import GENERAL
from worker.rules.problems.holds import HOLDS
from worker.rules.problems.kind import AGREEMENT_EDIT, AGREEMENT_INQUIRE, COMPANY_INQUIRE, ProblemKind
from worker.rules.problems.records import RECORDS
from worker.rules.problems.reverts import REVERTS
from worker.rules.problems.server import SERVER
from worker.rules.problems.setup import SETUP

__all__ = [
    "AGREEMENT_EDIT",
    "AGREEMENT_INQUIRE",
    "CATALOGUE",
    "COMPANY_INQUIRE",
    "MISSING_RIGHT",
    "OF_CONNECTION",
    "ProblemKind",
    "exhausted",
    "one_line",
    "perhaps_written",
    "problem",
]

# The code of the problem that a right of the security role is missing. No other rights are needed.
MISSING_RIGHT = {
    COMPANY_INQUIRE: "missing_company_inquire",
    AGREEMENT_INQUIRE: "missing_agreement_inquire",
    AGREEMENT_EDIT: "missing_agreement_edit",
}

# Every kind by its code, in the order of docs/problems.md.
CATALOGUE = {kind.code: kind for kind in (*SETUP, *RECORDS, *HOLDS, *REVERTS, *CONNECTION, *SERVER, *GENERAL)}

# Codes of the problems that all lines of a partner meet alike.
OF_CONNECTION = frozenset({"not_connected", "connection_not_received", *(kind.code for kind in (*CONNECTION, *SERVER))})

MAX_SAID = 500


def problem(code: str, *, said: str | None = None, **fields: object) -> Problem:
    """Return the problem of this code, with the {fields} of its detail; `said`: ConnectWise's own words.

    Fields may be text, numbers, dates, lists of text, or None. Raises KeyError for a code or field that is not there.
    """
    kind = CATALOGUE[code]
    detail = kind.detail.format_map({name: _shown(value) for name, value in fields.items()})
    return Problem(
        code=code,
        title=kind.title,
        # What comes from outside may be empty, long or unprintable.
        detail=plain_text(detail) or kind.title,
        fix=kind.fix,
        where=kind.where,
        who=kind.who,
        said=plain_text(said or "", MAX_SAID) or None,
    )


def exhausted(last: Problem) -> Problem:
    """Return the problem of a line that was tried for as long as RETRY_FOR allows; `last`: the last problem met."""
    return problem("exhausted", last=f"{last.title}. {last.detail}", said=last.said)


def one_line(problem: Problem) -> str:
    """Return title, detail and ConnectWise's words on one line, for logs and dead letters."""
    said = f" ConnectWise said: {problem.said}" if problem.said else ""
    return f"{problem.title}: {problem.detail}{said}"


def perhaps_written(problem: Problem) -> Problem:
    """Return the problem of a failed line, with the warning that an earlier write may have been applied."""
    detail = f"{problem.detail} The quantity may have been changed before: how that change ended is not known."
    return problem.model_copy(update={"detail": plain_text(detail)})


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case float():
            return f"{value:g}"
        case datetime():
            return f"{value:%Y-%m-%d}"
        case str():
            return value
        case Iterable():
            return ", ".join(map(_shown, value))
    return str(value)

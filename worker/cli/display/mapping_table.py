"""Mappings as a table with the findings of their checks below, and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from messages import MappingChecked, Problem
from store.mappings import Mapping
from worker.checks.mapping_check import last_check
from worker.cli.display import causes
from worker.cli.display.causes import Cause, of_problem
from worker.cli.display.output import mark, plural, safe, say, table
from worker.cli.display.wording import title

MARK_OF_STATE = {"complete": "good", "incomplete": "none", "invalid": "bad", "not checked": "waiting"}
"""The mark of each state of a mapping."""


def show(found: Sequence[Mapping]) -> None:
    """Print mappings with the names of their records, and what to do about those that are not complete."""
    checks = {mapping.company_id: last_check(mapping) for mapping in found}
    once = causes.connection_wide(_first(checked) for checked in checks.values())
    shown = [
        one for one in found if (why := _first(checks[one.company_id])) is None or causes.wording_of(why) not in once
    ]
    if shown:
        called = Counter(mapping.company_name for mapping in found)
        cells = [_cells(mapping, with_id=called[mapping.company_name] > 1) for mapping in shown]
        table(("Company", "ConnectWise", "", "State"), cells)
        say()
    if told := [cause for one in found for cause in _causes(one, checks[one.company_id])]:
        causes.show(told)
        say()


def state(mapping: Mapping) -> str:
    """`complete`, `incomplete` or `invalid` by the last check; `not checked` before the first."""
    checked = last_check(mapping)
    return checked.status if checked else "not checked"


def summary(found: Sequence[Mapping]) -> str:
    """Return the number of mappings in each state, in words."""
    counts = Counter(state(mapping) for mapping in found)
    states = ", ".join(f"{counts[name]} {name}" for name in MARK_OF_STATE if counts[name])
    return f"{plural(len(found), 'company', 'companies')}: {states}"


def warnings(mapping: Mapping) -> tuple[Problem, ...]:
    """The warnings of the last check, which a complete mapping may have too."""
    checked = last_check(mapping)
    return checked.warnings if checked else ()


def _cells(mapping: Mapping, *, with_id: bool) -> list[Text]:
    checked = last_check(mapping)
    names = (checked.cw_company_name, checked.agreement_name, checked.addition_name) if checked else (None,) * 3
    ids = (mapping.cw_company_id, mapping.agreement_id, mapping.addition_id)
    chosen = [name or f"#{number}" for name, number in zip(names, ids, strict=True) if number is not None]
    if len(chosen) > 1 and chosen[0] == mapping.company_name:
        # The same name twice would only make the row wrap.
        del chosen[0]
    details = ["sum"] if mapping.rule == "sum" else []
    if mapping.minimum is not None:
        details.append(f"at least {mapping.minimum}")
    if mapping.allow_not_billable:
        details.append("cost only")
    where = " > ".join(chosen) + (f" ({', '.join(details)})" if details and chosen else "")
    return [
        safe(f"{mapping.company_name} ({mapping.company_id})" if with_id else mapping.company_name),
        safe(where),
        mark(MARK_OF_STATE[state(mapping)]),
        safe(_label(mapping, checked)),
    ]


def _first(checked: MappingChecked | None) -> Problem | None:
    """The first problem, whose title stands in the row."""
    return next(iter(checked.problems), None) if checked is not None else None


def _label(mapping: Mapping, checked: MappingChecked | None) -> str:
    """The title of the first problem, else the state."""
    if (why := _first(checked)) is not None:
        return title(why)
    if mapping.addition is not None:
        return state(mapping)
    if mapping.cw_company_id is None:
        return "not mapped"
    return "choose agreement and addition" if mapping.agreement_id is None else "choose the addition"


def _causes(mapping: Mapping, checked: MappingChecked | None) -> Iterator[Cause]:
    """The problems of the check, the first one with the likely successor, then the warnings."""
    if checked is None:
        return
    new = checked.successor
    more = (
        ""
        if new is None
        else (
            f"Likely successor: {new.agreement_name} > {new.addition_name}"
            f" (--agreement {new.agreement_id} --addition {new.addition_id})."
        )
    )
    first = _first(checked)
    for problem in checked.problems:
        is_first = problem is first
        yield of_problem("bad", mapping.company_name, problem, labelled=is_first, more=more if is_first else "")
    for problem in checked.warnings:
        yield of_problem("warning", mapping.company_name, problem, labelled=False)


def document(partner: str, found: Sequence[Mapping]) -> dict[str, Any]:
    """Mappings as JSON, each with its check as it was published."""
    return {"partner_id": partner, "mappings": [_as_json(mapping) for mapping in found]}


def _as_json(mapping: Mapping) -> dict[str, Any]:
    return {
        "company_id": mapping.company_id,
        "company_name": mapping.company_name,
        "changed_at": mapping.changed_at.isoformat(),
        "cw_company_id": mapping.cw_company_id,
        "agreement_id": mapping.agreement_id,
        "addition_id": mapping.addition_id,
        "rule": mapping.rule,
        "minimum": mapping.minimum,
        "allow_not_billable": mapping.allow_not_billable,
        "state": state(mapping),
        "check": mapping.check,
    }

"""The records and terms of a mapping that a command does not name: the stored ones stay, and the user is told which."""

from collections.abc import Mapping as ById
from collections.abc import Sequence
from typing import Any

import typer

from messages import MappingChanged
from store.mappings import Mapping
from worker.cli.display.causes import listed
from worker.cli.display.output import complain

TAKEN_AWAY_BY = {"rule": "--rule refuse", "minimum": "--no-minimum", "allow_not_billable": "--no-allow-not-billable"}
"""The terms of a mapping, each with the option of `mapping set` that removes it."""

RECORDS = {"cw_company_id": "--cw-company", "agreement_id": "--agreement", "addition_id": "--addition"}
"""The records of a mapping, from left to right, each with its option."""


def records(stored: Mapping | None, given: Sequence[int | None], *, is_named: bool) -> dict[str, Any]:
    """Return the ids of a mapping's records: the given ones, and of those to the left of them the stored ones.

    If none is given, but something else is to change (`is_named`), all are the stored ones. Raises typer.BadParameter
    for those that are missing.
    """
    first = next((number for number, record in enumerate(given) if record is not None), len(given) if is_named else 0)
    kept = [getattr(stored, name) if stored and number < first else None for number, name in enumerate(RECORDS)]
    found = {name: one or other for name, one, other in zip(RECORDS, given, kept, strict=True)}
    if missing := [RECORDS[name] for name, record in found.items() if record is None]:
        is_mapped = stored is not None and stored.cw_company_id is not None
        unmapped = "this company is mapped to nothing in this ConnectWise"
        why = "only ids to the left of a named one are kept" if is_mapped else unmapped
        raise typer.BadParameter(f"to be given, as {why}", param_hint=", ".join(f"'{option}'" for option in missing))
    return {name: record for name, record in found.items() if record is not None}


def terms(stored: Mapping | None, named: ById[str, Any]) -> dict[str, Any]:
    """Return the terms of one company's mapping: the named ones, else the stored ones. Prints what stays or goes.

    A minimum that is named as None is removed.
    """
    if stored is None:
        return dict(named)
    kept = {name: getattr(stored, name) for name in TAKEN_AWAY_BY if name not in named}
    if stays := [name for name, value in kept.items() if _in_words(name, value)]:
        words = " and ".join(_in_words(name, kept[name]) for name in stays)
        complain(f"Kept: {words}. Taken away by {' '.join(TAKEN_AWAY_BY[name] for name in stays)}.")
    before = {name: getattr(stored, name) for name in TAKEN_AWAY_BY if name in named}
    if goes := [words for name, value in before.items() if value != named[name] and (words := _in_words(name, value))]:
        complain(f"Before: {' and '.join(goes)}.")
    return {**kept, **named}


def with_kept(events: Sequence[MappingChanged], stored: ById[str, Mapping]) -> list[MappingChanged]:
    """Give the mappings of a file without the column `allow_not_billable` the stored values. Prints the companies."""
    names = [
        event.company_id
        for event in events
        if "allow_not_billable" not in event.model_fields_set
        and event.cw_company_id is not None
        and event.company_id in stored
        and stored[event.company_id].allow_not_billable
    ]
    if names:
        complain(f"Kept, as the file has no column allow_not_billable: it is allowed for {listed(names)}.")
    ids = set(names)
    return [
        event.model_copy(update={"allow_not_billable": True}) if event.company_id in ids else event for event in events
    ]


def _in_words(name: str, value: Any) -> str:  # noqa: ANN401 - whatever the term holds
    """A term in words, empty for the default."""
    if name == "minimum":
        return "" if value is None else f"minimum {value:,}"
    if name == "rule":
        return "" if value == "refuse" else f"rule {value}"
    return "not Billable allowed" if value else ""

"""Ids that are likely meant as the id of a mapped company, with changed case or zeros: refused, or hinted at."""

import re
import unicodedata
from collections.abc import Iterable

import typer

from store import Database, mappings
from worker.cli.display.output import complain
from worker.cli.exits import USAGE

SHOWN = 10


def check_similar_ids(database: Database, partner_id: str, company_ids: Iterable[str]) -> None:
    """End the program (exit code 2) if an id that is not mapped differs from a mapped one only in case.

    If an unknown id differs only in leading zeros of a number, print a hint: both may be companies.
    """
    with database.begin() as tx:
        stored = mappings.of_partner(tx, partner_id)
    mapped = {mapping.company_id for mapping in stored if mapping.cw_company_id}
    by_folded_case = {one.casefold(): one for one in mapped}
    asked = [one for one in company_ids if one not in mapped]
    if wrong := [(one, by_folded_case[one.casefold()]) for one in asked if one.casefold() in by_folded_case]:
        _name(wrong, "{} is not mapped, but {} is, which differs only in capitals. Correct the id.")
        complain("Nothing was sent.")
        raise typer.Exit(USAGE)
    known, by_number = {mapping.company_id for mapping in stored}, {_folded(one): one for one in mapped}
    alike = [(one, by_number[_folded(one)]) for one in asked if one not in known and _folded(one) in by_number]
    _name(alike, "{} is not mapped, but {} is. If they are the same company, correct the id.")


def _name(alike: list[tuple[str, str]], said: str) -> None:
    for one, other in alike[:SHOWN]:
        complain(said.format(one, other))
    if len(alike) > SHOWN:
        complain(f"{len(alike) - SHOWN:,} more ids are like mapped ones.")


def _folded(company_id: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", unicodedata.normalize("NFKC", company_id).casefold())

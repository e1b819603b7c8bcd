"""Ids that are likely meant as the id of a mapped company: refused, or hinted at."""

from collections.abc import Iterable

import typer

from store import Database
from worker.cli.display.output import complain
from worker.cli.exits import USAGE
from worker.coordination import similar_ids


def check_similar_ids(database: Database, partner_id: str, company_ids: Iterable[str]) -> None:
    """End the program (exit code 2) if an id that is not mapped differs from a mapped one only in case.

    If an unknown id differs only in leading zeros of a number, print a hint: both may be companies.
    """
    with database.begin() as tx:
        found = similar_ids.find(tx, partner_id, company_ids)
    if mistakes := found.mistakes():
        for sentence in mistakes:
            complain(sentence)
        complain("Nothing was sent.")
        raise typer.Exit(USAGE)
    for sentence in found.hints():
        complain(sentence)

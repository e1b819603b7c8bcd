"""A hint at ids that are likely the id of a mapped company, as a person or a spreadsheet changes it."""

import re
import unicodedata
from collections.abc import Iterable

from store import Database, mappings
from worker.cli.output import complain

SHOWN = 10


def hint_at_like_ids(database: Database, partner_id: str, company_ids: Iterable[str]) -> None:
    """Name the ids that are not mapped, while one is that differs only in capitals or in zeros before a number."""
    with database.begin() as tx:
        stored = mappings.of_partner(tx, partner_id)
    known = {mapping.company_id for mapping in stored}
    mapped = {_folded(mapping.company_id): mapping.company_id for mapping in stored if mapping.cw_company_id}
    alike = [(one, mapped[_folded(one)]) for one in company_ids if one not in known and _folded(one) in mapped]
    for one, other in alike[:SHOWN]:
        complain(f"{one} is not mapped, but {other} is. If they are the same company, correct the id.")
    if len(alike) > SHOWN:
        complain(
            f"{len(alike) - SHOWN:,} more ids differ from mapped ones only in capitals, or in zeros before a number."
        )


def _folded(company_id: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", unicodedata.normalize("NFKC", company_id).casefold())

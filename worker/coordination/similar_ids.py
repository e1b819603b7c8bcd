"""Ids that are likely meant as the id of a mapped company, with changed case or zeros."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from store import Tx, mappings

SHOWN = 10


@dataclass(frozen=True)
class SimilarIds:
    """Pairs of an id that is not mapped and a mapped one; `mistaken` differ only in case, so these are refused.

    `alike` differ in leading zeros of a number: both may be companies.
    """

    mistaken: list[tuple[str, str]]
    alike: list[tuple[str, str]]

    def mistakes(self) -> list[str]:
        """Sentences that say what is wrong, and what to do."""
        return _named(self.mistaken, "{} is not mapped, but {} is, which differs only in capitals. Correct the id.")

    def hints(self) -> list[str]:
        """Sentences that say what may be wrong."""
        return _named(self.alike, "{} is not mapped, but {} is. If they are the same company, correct the id.")


def find(tx: Tx, partner_id: str, company_ids: Iterable[str]) -> SimilarIds:
    """Compare these ids with those that are mapped."""
    stored = mappings.of_partner(tx, partner_id)
    mapped = {mapping.company_id for mapping in stored if mapping.cw_company_id}
    by_folded_case = {one.casefold(): one for one in mapped}
    asked = [one for one in company_ids if one not in mapped]
    mistaken = [(one, by_folded_case[one.casefold()]) for one in asked if one.casefold() in by_folded_case]
    known, by_number = {mapping.company_id for mapping in stored}, {_folded(one): one for one in mapped}
    wrong = {one for one, _ in mistaken}
    unknown = [one for one in asked if one not in known and one not in wrong]
    return SimilarIds(mistaken, [(one, by_number[_folded(one)]) for one in unknown if _folded(one) in by_number])


def _named(pairs: list[tuple[str, str]], said: str) -> list[str]:
    sentences = [said.format(one, other) for one, other in pairs[:SHOWN]]
    more = len(pairs) - SHOWN
    return [*sentences, f"{more:,} more ids are like mapped ones."] if more > 0 else sentences


def _folded(company_id: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", unicodedata.normalize("NFKC", company_id).casefold())

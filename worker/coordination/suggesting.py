"""Suggestions: for whom they are asked, what they would change, and which are certain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from messages import MappingChanged, PhinCompany, Suggestion
from store import Tx, mappings
from store.mappings import Mapping as StoredMapping
from worker.catalog import questions
from worker.catalog.suggestions import PAGE, looks_like_phin

REASONS = {
    "exact": "same name",
    "case": "other capitals",
    "punctuation": "other punctuation",
    "legal_form": "other legal form",
    "abbreviation": "abbreviated",
    "identifier": "by identifier",
    "similar": "spelt alike",
    "initials": "by initials",
}


Ids = tuple[int | None, int | None, int | None]
Suggestions = Mapping[str, Sequence[Suggestion]]
"""Suggestions by company id, the best first."""


@dataclass(frozen=True)
class PartnerMappings:
    """The stored mappings of a partner; `current` are those made for the ConnectWise that is connected now."""

    stored: Mapping[str, StoredMapping]
    current: Mapping[str, StoredMapping]

    @classmethod
    def read(cls, tx: Tx, partner: str) -> "PartnerMappings":
        """Read the mappings from the store."""
        stored = {mapping.company_id: mapping for mapping in mappings.of_partner(tx, partner)}
        return cls(stored, questions.connected_mappings(tx, partner))

    def companies(self) -> list[PhinCompany]:
        """All companies that were ever mapped."""
        return [PhinCompany(company_id=one.company_id, company_name=one.company_name) for one in self.stored.values()]

    def is_mapped(self, company_id: str) -> bool:
        """True if an addition is chosen."""
        return company_id in self.current and self.current[company_id].addition is not None

    def ids(self, company_id: str) -> Ids:
        """The chosen records: company, agreement, addition."""
        mapping = self.current.get(company_id)
        return (mapping.cw_company_id, mapping.agreement_id, mapping.addition_id) if mapping else (None, None, None)

    def filled(self, company_id: str, suggestion: Suggestion) -> Ids:
        """The chosen records completed by a suggestion, unless it contradicts one of them."""
        chosen = self.ids(company_id)
        proposed = (
            suggestion.cw_company_id,
            suggestion.agreement.id if suggestion.agreement else None,
            suggestion.addition.id if suggestion.addition else None,
        )
        fits = all(old in {None, new} for old, new in zip(chosen, proposed, strict=True))
        return proposed if fits else chosen


def pages(asked: Sequence[PhinCompany]) -> list[Sequence[PhinCompany]]:
    """The companies as questions name them: so many in each."""
    return [asked[start : start + PAGE] for start in range(0, len(asked), PAGE)]


def by_company(found: Sequence[Suggestion]) -> dict[str, list[Suggestion]]:
    """The suggestions by company. One ConnectWise company suggested on two pages is marked as ambiguous."""
    reached: dict[int, set[str]] = defaultdict(set)
    for one in found:
        reached[one.cw_company_id].add(one.company_id)
    found_of: dict[str, list[Suggestion]] = {}
    for one in found:
        shared = len(reached[one.cw_company_id]) > 1
        kept = one.model_copy(update={"ambiguous": True, "certain": False}) if shared else one
        found_of.setdefault(one.company_id, []).append(kept)
    return found_of


def certain_mappings(
    partner: str, asked: Sequence[PhinCompany], found: Suggestions, known: PartnerMappings, at: datetime
) -> list[MappingChanged]:
    """Mappings for certain suggestions that change something."""
    events = []
    for company in asked:
        best = next(iter(found.get(company.company_id, ())), None)
        if best is None or not best.certain:
            continue
        if best.addition is not None and not looks_like_phin(best.addition):
            # The only addition of an agreement may bill something else, so a person has to decide.
            best = best.model_copy(update={"addition": None})
        if (ids := known.filled(company.company_id, best)) != known.ids(company.company_id):
            events.append(event_of(partner, company, ids, known, at))
    return events


def event_of(partner: str, company: PhinCompany, ids: Ids, known: PartnerMappings, at: datetime) -> MappingChanged:
    """Map a company to these records, under the terms that are stored for it."""
    stored = known.stored.get(company.company_id)
    kept = ("rule", "minimum", "allow_not_billable")
    rules: dict[str, Any] = {name: getattr(stored, name) for name in kept} if stored else {}
    return MappingChanged(
        partner_id=partner,
        correlation_id=f"mapping suggest {at.isoformat()}",
        changed_at=at,
        company_id=company.company_id,
        company_name=company.company_name,
        cw_company_id=ids[0],
        agreement_id=ids[1],
        addition_id=ids[2],
        **rules,
    )

"""Suggestions: the ConnectWise company, agreement and addition that may bill a Phin company. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from messages import Choice, PhinCompany, Suggestion
from worker.catalog.choices import Listing
from worker.catalog.name_matching import Candidate, Match, Matcher

# Companies whose suggestions are in one answer.
PAGE = 50

# Of a company with more active agreements nothing is proposed: each costs a request, and somebody waits.
MAX_AGREEMENTS = 5

PRODUCT_WORDS = ("phin", "security awareness", "phishing")


def looks_like_phin(choice: Choice) -> bool:
    """Return True if an addition may be for Phin, by the words in its name and product.

    A heuristic of ours: no source says what partners call their product.
    """
    words = " ".join(f"{choice.name} {choice.product or ''}".casefold().replace("-", " ").split())
    return any(word in words for word in PRODUCT_WORDS)


@dataclass(frozen=True)
class MatchedCompanies:
    """The matches of the page's companies, by company id.

    `claims`: how many Phin companies, of all pages, match or are mapped to a ConnectWise company; `more`: pages follow.
    """

    page: Mapping[str, Sequence[Match]]
    claims: Counter[int]
    more: bool

    @property
    def best_of_page(self) -> set[int]:
        """The ConnectWise companies that are the best match of a company of the page."""
        return {matches[0].candidate.id for matches in self.page.values() if matches}


def matcher_of(companies: Listing) -> Matcher:
    """Return a matcher of the choices of ConnectWise companies; a second and 40 MB for 20,000."""
    return Matcher(Candidate(choice.id, choice.name, choice.detail or "") for choice in companies)


def match_companies(
    matcher: Matcher, companies: Sequence[PhinCompany], page: int, mapped: Mapping[str, int | None]
) -> MatchedCompanies:
    """Match all companies; `mapped`: the ConnectWise company by the id of each Phin company that has one already.

    All are matched, whatever the page: two that match the same ConnectWise company are not certain.
    """
    matches = {company.company_id: matcher.best(company.company_name) for company in companies}
    claims = Counter(
        number
        for company_id in matches.keys() | mapped.keys()
        for number in {match.candidate.id for match in matches.get(company_id, ())} | {mapped.get(company_id)}
        if number is not None
    )
    start, ids = (page - 1) * PAGE, list(matches)
    shown = {company_id: matches[company_id] for company_id in ids[start : start + PAGE]}
    return MatchedCompanies(shown, claims, more=len(ids) > start + PAGE)


def suggestions(
    matched: MatchedCompanies,
    agreements: Mapping[int, Sequence[Choice]],
    additions: Mapping[int, Sequence[Choice]],
    taken: Collection[tuple[int, int]],
) -> Iterable[Suggestion]:
    """Yield the suggestions for the page, by company, best first; only the first of each has a proposal.

    `agreements` by ConnectWise company; `additions` by agreement; `taken`: the additions (agreement, addition) that
    are mapped already.
    """
    for company_id, matches in matched.page.items():
        for rank, match in enumerate(matches):
            candidate = match.candidate
            ambiguous = match.ambiguous or matched.claims[candidate.id] > 1
            proposal = Proposal() if rank else propose(agreements.get(candidate.id, ()), additions, taken)
            yield Suggestion(
                company_id=company_id,
                cw_company_id=candidate.id,
                cw_company_name=candidate.name,
                cw_company_identifier=candidate.identifier or None,
                score=match.score,
                reason=match.reason,
                ambiguous=ambiguous,
                certain=match.certain and not ambiguous,
                agreement=proposal.agreement,
                addition=proposal.addition,
            )


def searched(agreements: Iterable[Choice]) -> list[Choice]:
    """Return the active agreements, whose additions are searched; none if they are too many."""
    active = [agreement for agreement in agreements if agreement.problem is None]
    return active if len(active) <= MAX_AGREEMENTS else []


class Proposal(NamedTuple):
    """The agreement and the addition that are proposed, as far as one of each stands out."""

    agreement: Choice | None = None
    addition: Choice | None = None


def propose(
    agreements: Iterable[Choice], additions: Mapping[int, Sequence[Choice]], taken: Collection[tuple[int, int]]
) -> Proposal:
    """Propose the only addition that looks like Phin, else the only one there is."""
    active = searched(agreements)
    usable = [
        Proposal(agreement, addition)
        for agreement in active
        for addition in additions.get(agreement.id, ())
        if addition.problem is None and (agreement.id, addition.id) not in taken
    ]
    alike = [each for each in usable if each.addition is not None and looks_like_phin(each.addition)]
    if len(alike) == 1:
        return alike[0]
    if len(active) != 1:
        return Proposal()
    return usable[0] if len(usable) == 1 and not alike else Proposal(active[0])

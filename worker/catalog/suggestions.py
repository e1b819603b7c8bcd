"""The ConnectWise company, agreement and addition that may bill a Phin company: only proposals. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from messages import Choice, PhinCompany, Suggestion
from worker.catalog.choices import Listing
from worker.catalog.name_matching import Candidate, Match, Matcher

PAGE = 50
"""Companies whose suggestions are in one answer."""

AGREEMENTS_LOOKED_INTO = 5
"""Of a company with more active agreements nothing is proposed: each costs a request, and somebody waits."""

PRODUCT_WORDS = ("phin", "security awareness", "phishing")


def looks_like_phin(choice: Choice) -> bool:
    """True if an addition may be for Phin, by the words in its name and product.

    A heuristic of ours: no source says what partners call their product.
    """
    words = " ".join(f"{choice.name} {choice.product or ''}".casefold().replace("-", " ").split())
    return any(word in words for word in PRODUCT_WORDS)


@dataclass(frozen=True)
class MatchedCompanies:
    """The matches of all companies that were asked about, those of the page first of all."""

    page: Mapping[str, Sequence[Match]]
    reached: Counter[int]
    more: bool

    @property
    def shown_first(self) -> set[int]:
        """The ConnectWise companies that are the best match of a company of the page."""
        return {matches[0].candidate.id for matches in self.page.values() if matches}


def matcher_of(companies: Listing) -> Matcher:
    """Make a matcher of the choices of ConnectWise companies; a second and 40 MB for 20,000."""
    return Matcher(Candidate(choice.id, choice.name, choice.detail or "") for choice in companies)


def match_companies(
    matcher: Matcher, asked: Sequence[PhinCompany], page: int, taken: Mapping[str, int | None]
) -> MatchedCompanies:
    """Match all companies; `taken` = the ConnectWise company by the id of each Phin company that has one already.

    All are matched, whatever the page: two that reach the same ConnectWise company are not certain.
    """
    found = {company.company_id: matcher.best(company.company_name) for company in asked}
    reached = Counter(
        number
        for company_id in found.keys() | taken.keys()
        for number in {one.candidate.id for one in found.get(company_id, ())} | {taken.get(company_id)}
        if number is not None
    )
    start, ids = (page - 1) * PAGE, list(found)
    return MatchedCompanies({one: found[one] for one in ids[start : start + PAGE]}, reached, len(ids) > start + PAGE)


def suggestions(
    matched: MatchedCompanies,
    agreements: Mapping[int, Sequence[Choice]],
    additions: Mapping[int, Sequence[Choice]],
    taken: Collection[tuple[int, int]],
) -> Iterable[Suggestion]:
    """Suggestions for the page, by company, best first; the first of each with what is proposed for it.

    `agreements` by ConnectWise company; `additions` by agreement; `taken` = the additions (agreement, addition) that
    are mapped already.
    """
    for company_id, matches in matched.page.items():
        for rank, one in enumerate(matches):
            ambiguous = one.ambiguous or matched.reached[one.candidate.id] > 1
            agreement, addition = (
                propose(agreements.get(one.candidate.id, ()), additions, taken) if not rank else (None, None)
            )
            yield Suggestion(
                company_id=company_id,
                cw_company_id=one.candidate.id,
                cw_company_name=one.candidate.name,
                cw_company_identifier=one.candidate.identifier or None,
                score=one.score,
                reason=one.reason,
                ambiguous=ambiguous,
                certain=one.certain and not ambiguous,
                agreement=agreement,
                addition=addition,
            )


def looked_into(agreements: Iterable[Choice]) -> list[Choice]:
    """The active agreements among these, none if they are too many."""
    active = [agreement for agreement in agreements if agreement.problem is None]
    return active if len(active) <= AGREEMENTS_LOOKED_INTO else []


def propose(
    agreements: Iterable[Choice], additions: Mapping[int, Sequence[Choice]], taken: Collection[tuple[int, int]]
) -> tuple[Choice | None, Choice | None]:
    """The agreement and addition that stand out: the only one that looks like Phin, else the only one there is."""
    active = looked_into(agreements)
    fit = [
        (agreement, addition)
        for agreement in active
        for addition in additions.get(agreement.id, ())
        if addition.problem is None and (agreement.id, addition.id) not in taken
    ]
    alike = [pair for pair in fit if looks_like_phin(pair[1])]
    if len(alike) == 1:
        return alike[0]
    if len(active) != 1:
        return None, None
    only = fit if not alike else []
    return active[0], only[0][1] if len(only) == 1 else None

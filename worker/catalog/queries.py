"""The steps that answer a question for choices: read the lists that it needs from ConnectWise, then make the answer."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from messages import CatalogRequested, Choice, PhinCompany
from store import Database, catalog, mappings
from store.catalog import Cached, Question
from store.mappings import Mapping as StoredMapping
from worker.catalog import suggestions
from worker.catalog.choices import Listing, addition_choice, agreement_choice, company_choice
from worker.catalog.name_matching import Matcher
from worker.catalog.questions import COMPANIES, FRESH, AnswerFields, connected_mappings, key_of, page_of
from worker.catalog.suggestions import MatchedCompanies
from worker.connectwise.session import ConnectWiseSession

Clock = Callable[[], datetime]
BeforePage = Callable[[], None]


@dataclass(frozen=True)
class PoolCall:
    """A call that a step waits for; a thread of the pool runs it.

    `reads_connectwise`: its result is a dict of listings by key, else it only computes. `BeforePage` is called before
    each request but the first.
    """

    run: Callable[[ConnectWiseSession, BeforePage], Any]
    reads_connectwise: bool = True


# Yields calls, all of which may be made at once, and is sent their results; returns the fields of the answer.
AnswerSteps = Generator[list[PoolCall], list[Any], AnswerFields]


class ListCache:
    """The lists of a partner's ConnectWise: those read in this run (`read`), else those kept in the store."""

    def __init__(self, database: Database, partner_id: str, tenant: str, clock: Clock) -> None:
        self.tenant, self.read = tenant, dict[str, Listing]()
        self._database, self._partner_id, self._clock = database, partner_id, clock
        self._matcher: tuple[datetime, Matcher] | None = None

    def steps(self, question: Question, event: CatalogRequested) -> AnswerSteps:
        """Return the steps to the answer."""
        since = question.asked_at if event.refresh else self._clock() - FRESH
        return self._suggest(event, since) if event.kind == "suggestions" else self._list(event, since)

    def unsaved(self) -> dict[str, Cached]:
        """Return the lists that were read, to be stored."""
        return {key: Cached(listing.fetched_at, listing.text) for key, listing in self.read.items()}

    def _list(self, event: CatalogRequested, since: datetime) -> AnswerSteps:
        key = key_of(event)
        return page_of(event, (yield from self._listings([key], since))[key])

    def _suggest(self, event: CatalogRequested, since: datetime) -> AnswerSteps:
        companies = (yield from self._listings([COMPANIES], since))[COMPANIES]
        with self._database.begin() as tx:
            stored = connected_mappings(tx, self._partner_id)
            wanted = event.companies or _unfinished(mappings.of_partner(tx, self._partner_id), stored)
        mapped = {company_id: mapping.cw_company_id for company_id, mapping in stored.items()}
        taken = {mapping.addition for mapping in stored.values() if mapping.addition is not None}
        match = PoolCall(lambda *_: self._match(companies, wanted, event.page, mapped), reads_connectwise=False)
        [matched] = yield [match]
        agreements = yield from self._of_each("agreements", sorted(matched.best_of_page), since)
        searched = [choice.id for choices in agreements.values() for choice in suggestions.searched(choices)]
        additions = yield from self._of_each("additions", searched, since)
        return {
            "suggestions": tuple(suggestions.suggestions(matched, agreements, additions, taken)),
            "more": matched.more,
            "fetched_at": companies.fetched_at,
        }

    def _match(
        self, companies: Listing, wanted: Sequence[PhinCompany], page: int, mapped: Mapping[str, int | None]
    ) -> MatchedCompanies:
        """Match in a thread of the pool, and never in two: there is one such question at a time."""
        if self._matcher is None or self._matcher[0] != companies.fetched_at:
            self._matcher = (companies.fetched_at, suggestions.matcher_of(companies))
        return suggestions.match_companies(self._matcher[1], wanted, page, mapped)

    def _of_each(
        self, kind: str, ids: Sequence[int], since: datetime
    ) -> Generator[list[PoolCall], list[Any], dict[int, list[Choice]]]:
        """Return the agreements of each of these companies, or the additions of each of these agreements."""
        listings = yield from self._listings([f"{kind} {number}" for number in ids], since)
        return {number: list(listings[f"{kind} {number}"]) for number in ids}

    def _listings(
        self, keys: Sequence[str], since: datetime
    ) -> Generator[list[PoolCall], list[Any], dict[str, Listing]]:
        """Return the lists of these keys; those that are unknown, or older than `since`, are read from ConnectWise."""
        listings = {key: listing for key, listing in self._known(keys).items() if listing.fetched_at >= since}
        missing = [key for key in keys if key not in listings]
        if missing:
            for read in (yield _calls(missing, self._clock)):
                listings |= read
        return listings

    def _known(self, keys: Collection[str]) -> dict[str, Listing]:
        with self._database.begin() as tx:
            kept = catalog.cached(tx, self._partner_id, self.tenant, [key for key in keys if key not in self.read])
        stored = {key: Listing(cached.fetched_at, cached.text) for key, cached in kept.items()}
        return stored | {key: self.read[key] for key in keys if key in self.read}


def _unfinished(stored: Sequence[StoredMapping], current: Mapping[str, StoredMapping]) -> tuple[PhinCompany, ...]:
    """Return the companies that somebody began to map, or unmapped."""
    return tuple(
        PhinCompany(company_id=mapping.company_id, company_name=mapping.company_name)
        for mapping in stored
        if mapping.company_id not in current or mapping.addition is None
    )


# --- the calls to ConnectWise


def _calls(keys: Sequence[str], clock: Clock) -> list[PoolCall]:
    """Return the calls that read these listings: one for the agreements of all companies, as a page has few of them."""
    ids: dict[str, list[int]] = {"companies": [], "agreements": [], "additions": []}
    for key in keys:
        kind, _, number = key.partition(" ")
        ids[kind].append(int(number or 0))
    calls = [PoolCall(partial(_companies, clock)) for _ in ids["companies"]]
    if ids["agreements"]:
        calls.append(PoolCall(partial(_agreements, clock, ids["agreements"])))
    return calls + [PoolCall(partial(_additions, clock, number)) for number in ids["additions"]]


def _companies(clock: Clock, session: ConnectWiseSession, before_page: BeforePage) -> dict[str, Listing]:
    at = clock()
    return {COMPANIES: Listing.of(session.companies(company_choice, before_page), at)}


def _agreements(
    clock: Clock, company_ids: Sequence[int], session: ConnectWiseSession, before_page: BeforePage
) -> dict[str, Listing]:
    at = clock()
    choices: dict[int, list[Choice]] = {company_id: [] for company_id in company_ids}
    for agreement in session.agreements(company_ids, before_page):
        if agreement.company.id in choices:
            choices[agreement.company.id].append(agreement_choice(agreement, at))
    return {f"agreements {company_id}": Listing.of(found, at) for company_id, found in choices.items()}


def _additions(
    clock: Clock, agreement_id: int, session: ConnectWiseSession, before_page: BeforePage
) -> dict[str, Listing]:
    at = clock()
    choices = (addition_choice(addition, agreement_id, at) for addition in session.additions(agreement_id, before_page))
    return {f"additions {agreement_id}": Listing.of(choices, at)}

"""The steps that answer a question for choices: lists are read from ConnectWise, and the answer follows from them."""

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
from worker.catalog.choices import Listing, of_addition, of_agreement, of_company
from worker.catalog.name_matching import Matcher
from worker.catalog.questions import COMPANIES, FRESH, AnswerFields, connected_mappings, key_of, page_of
from worker.catalog.suggestions import MatchedCompanies
from worker.connectwise.session import ConnectWiseSession

Clock = Callable[[], datetime]
Turn = Callable[[], None]


@dataclass(frozen=True)
class PoolCall:
    """One thing that a step waits for, made by a thread of the pool.

    `asks`: it reads listings, by their keys, from ConnectWise; `Turn` is called between its requests.
    """

    make: Callable[[ConnectWiseSession, Turn], Any]
    asks: bool = True


AnswerSteps = Generator[list[PoolCall], list[Any], AnswerFields]
"""Yields calls, all of which may be made at once, and is sent their results; returns what the answer says."""


class ListCache:
    """The lists known of a partner's ConnectWise: those read in this run (`read`), else those kept in the store."""

    def __init__(self, database: Database, partner_id: str, tenant: str, clock: Clock) -> None:
        self.tenant, self.read = tenant, dict[str, Listing]()
        self._database, self._partner_id, self._clock = database, partner_id, clock
        self._matcher: tuple[datetime, Matcher] | None = None

    def steps(self, question: Question, event: CatalogRequested) -> AnswerSteps:
        """The steps to the answer."""
        since = question.asked_at if event.refresh else self._clock() - FRESH
        return self._suggest(event, since) if event.kind == "suggestions" else self._list(event, since)

    def unsaved(self) -> dict[str, Cached]:
        """Return the lists that were read, to be kept."""
        return {key: Cached(listing.fetched_at, listing.text) for key, listing in self.read.items()}

    def _list(self, event: CatalogRequested, since: datetime) -> AnswerSteps:
        key = key_of(event)
        return page_of(event, (yield from self._listings([key], since))[key])

    def _suggest(self, event: CatalogRequested, since: datetime) -> AnswerSteps:
        companies = (yield from self._listings([COMPANIES], since))[COMPANIES]
        with self._database.begin() as tx:
            stored = connected_mappings(tx, self._partner_id)
            asked = event.companies or _unfinished(mappings.of_partner(tx, self._partner_id), stored)
        reached = {company_id: mapping.cw_company_id for company_id, mapping in stored.items()}
        taken = {mapping.addition for mapping in stored.values() if mapping.addition is not None}
        [matched] = yield [PoolCall(lambda *_: self._match(companies, asked, event.page, reached), asks=False)]
        agreements = yield from self._of_each("agreements", sorted(matched.shown_first), since)
        looked_into = [one.id for some in agreements.values() for one in suggestions.looked_into(some)]
        additions = yield from self._of_each("additions", looked_into, since)
        return {
            "suggestions": tuple(suggestions.suggestions(matched, agreements, additions, taken)),
            "more": matched.more,
            "fetched_at": companies.fetched_at,
        }

    def _match(
        self, companies: Listing, asked: Sequence[PhinCompany], page: int, reached: Mapping[str, int | None]
    ) -> MatchedCompanies:
        """In a thread of the pool, and never in two: there is one such question at a time."""
        if self._matcher is None or self._matcher[0] != companies.fetched_at:
            self._matcher = (companies.fetched_at, suggestions.matcher_of(companies))
        return suggestions.match_companies(self._matcher[1], asked, page, reached)

    def _of_each(
        self, kind: str, ids: Sequence[int], since: datetime
    ) -> Generator[list[PoolCall], list[Any], dict[int, list[Choice]]]:
        """The agreements of each of these companies, or the additions of each of these agreements."""
        listings = yield from self._listings([f"{kind} {number}" for number in ids], since)
        return {number: list(listings[f"{kind} {number}"]) for number in ids}

    def _listings(
        self, keys: Sequence[str], since: datetime
    ) -> Generator[list[PoolCall], list[Any], dict[str, Listing]]:
        """Return the known lists of these keys that are no older, and read those that are missing from ConnectWise."""
        known = {key: listing for key, listing in self._known(keys).items() if listing.fetched_at >= since}
        missing = [key for key in keys if key not in known]
        if missing:
            for read in (yield _calls(missing, self._clock)):
                known |= read
        return known

    def _known(self, keys: Collection[str]) -> dict[str, Listing]:
        with self._database.begin() as tx:
            kept = catalog.cached(tx, self._partner_id, self.tenant, [key for key in keys if key not in self.read])
        stored = {key: Listing(one.fetched_at, one.text) for key, one in kept.items()}
        return stored | {key: self.read[key] for key in keys if key in self.read}


def _unfinished(stored: Sequence[StoredMapping], current: Mapping[str, StoredMapping]) -> tuple[PhinCompany, ...]:
    """Companies that somebody began to map, or unmapped."""
    return tuple(
        PhinCompany(company_id=mapping.company_id, company_name=mapping.company_name)
        for mapping in stored
        if mapping.company_id not in current or mapping.addition is None
    )


# --- what is asked of ConnectWise


def _calls(keys: Sequence[str], clock: Clock) -> list[PoolCall]:
    """The calls that read these listings: the agreements of all companies by one, which a page has few enough of."""
    ids: dict[str, list[int]] = {"companies": [], "agreements": [], "additions": []}
    for key in keys:
        kind, _, number = key.partition(" ")
        ids[kind].append(int(number or 0))
    calls = [PoolCall(partial(_companies, clock)) for _ in ids["companies"]]
    if ids["agreements"]:
        calls.append(PoolCall(partial(_agreements, clock, ids["agreements"])))
    return calls + [PoolCall(partial(_additions, clock, number)) for number in ids["additions"]]


def _companies(clock: Clock, remote: ConnectWiseSession, turn: Turn) -> dict[str, Listing]:
    at = clock()
    return {COMPANIES: Listing.of(remote.companies(of_company, turn), at)}


def _agreements(clock: Clock, company_ids: Sequence[int], remote: ConnectWiseSession, turn: Turn) -> dict[str, Listing]:
    at = clock()
    found: dict[int, list[Choice]] = {company_id: [] for company_id in company_ids}
    for agreement in remote.agreements(company_ids, turn):
        if agreement.company.id in found:
            found[agreement.company.id].append(of_agreement(agreement, at))
    return {f"agreements {company_id}": Listing.of(choices, at) for company_id, choices in found.items()}


def _additions(clock: Clock, agreement_id: int, remote: ConnectWiseSession, turn: Turn) -> dict[str, Listing]:
    at = clock()
    found = (of_addition(addition, agreement_id, at) for addition in remote.additions(agreement_id, turn))
    return {f"additions {agreement_id}": Listing.of(found, at)}

"""Suggestions: asked for as the platform does, and accepted one by one or together."""

from collections.abc import Sequence

from starlette.responses import Response

from messages import CatalogRequested, MappingChanged, PhinCompany, Suggestion
from store import Tx, mappings, now, portal
from store.portal import Choice
from worker.coordination.suggesting import PartnerMappings, certain_mappings, event_of, pages
from worker.web.pages import Page
from worker.web.portal import period as periods
from worker.web.portal.asked_suggestions import read
from worker.web.portal.one_row import row_of
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit


def ask(visit: Visit) -> Response:
    """Ask for suggestions for the companies that are not mapped."""
    partner = visit.partner
    with visit.site.database.begin() as tx:
        period = periods.asked(visit, tx)
        unmapped = _unmapped(tx, partner, period.key)
    events = [
        CatalogRequested(
            partner_id=partner, correlation_id="portal suggestions", kind="suggestions", companies=tuple(some)
        )
        for some in pages(unmapped)
    ]
    visit.site.send(events)
    with visit.site.database.begin() as tx:
        portal.keep_questions(tx, partner, [str(event.id) for event in events])
    return visit.go("/portal/companies", period=period.key, show="unmapped")


def accept(visit: Visit) -> Response:
    """Map a company as it was suggested."""
    partner, company_id = visit.partner, visit.field("company")
    with visit.site.choosing.by(visit.partner):
        with visit.site.database.begin() as tx:
            at, period = now(tx), periods.asked(visit, tx)
            found = read(tx, partner).found.get(company_id, ())
            known = _known(tx, partner)
            names = {one.company_id: one.company_name for one in _companies(tx, partner, period.key)}
        wanted = visit.field("cw_company")
        suggestion = next((one for one in found if str(one.cw_company_id) == wanted), None)
        if suggestion is None or company_id not in names:
            raise Refusal(409, "This suggestion is gone", "Load the page anew, and ask for suggestions again.")
        company = PhinCompany(company_id=company_id, company_name=names[company_id])
        ids = known.filled(company_id, suggestion)
        if ids[0] != suggestion.cw_company_id:
            raise Refusal(409, "Another company is chosen already", "Load the page anew, and look at what is chosen.")
        _send(visit, [event_of(partner, company, ids, known, at)], [suggestion])
    if visit.is_partial:
        return row_of(visit, company_id, saved=True)
    return visit.go("/portal/companies", period=period.key, show="unmapped")


def accept_certain(visit: Visit) -> Response:
    """Map all companies whose suggestion is certain."""
    partner = visit.partner
    with visit.site.choosing.by(visit.partner):
        with visit.site.database.begin() as tx:
            at, period = now(tx), periods.asked(visit, tx)
            found = read(tx, partner).found
            events = certain_mappings(partner, _unmapped(tx, partner, period.key), found, _known(tx, partner), at)
        _send(visit, events, [found[event.company_id][0] for event in events])
    return visit.go("/portal/companies", period=period.key, accepted=len(events))


def _send(visit: Visit, events: Sequence[MappingChanged], suggested: Sequence[Suggestion]) -> None:
    if events:
        visit.site.send(events)
        chosen = [Choice(event, _names(event, one)) for event, one in zip(events, suggested, strict=True)]
        with visit.site.database.begin() as tx:
            portal.keep_choices(tx, chosen)


def _known(tx: Tx, partner: str) -> PartnerMappings:
    """The mappings, and in place of those that no worker has stored yet what was chosen."""
    known = PartnerMappings.read(tx, partner)
    ahead = {
        company_id: mappings.of_event(choice.event)
        for company_id, choice in portal.choices(tx, partner).items()
        if company_id not in known.stored or choice.event.changed_at > known.stored[company_id].changed_at
    }
    return PartnerMappings({**known.stored, **ahead}, {**known.current, **ahead})


def _companies(tx: Tx, partner: str, period_key: str) -> list[PhinCompany]:
    return [
        PhinCompany(company_id=line.company_id, company_name=line.company_name)
        for line in portal.counts(tx, partner, period_key)
    ]


def _unmapped(tx: Tx, partner: str, period_key: str) -> list[PhinCompany]:
    known = _known(tx, partner)
    return [one for one in _companies(tx, partner, period_key) if not known.is_mapped(one.company_id)]


def _names(event: MappingChanged, one: Suggestion) -> tuple[str | None, str | None, str | None]:
    """The names of the records that the event maps to."""
    agreement, addition = one.agreement, one.addition
    return (
        one.cw_company_name,
        agreement.name if agreement and agreement.id == event.agreement_id else None,
        addition.name if addition and addition.id == event.addition_id else None,
    )


PAGES = (
    Page("POST", "/portal/suggestions", Right.COORDINATE, ask),
    Page("POST", "/portal/suggestions/accept", Right.COORDINATE, accept),
    Page("POST", "/portal/suggestions/accept-certain", Right.COORDINATE, accept_certain),
)

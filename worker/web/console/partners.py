"""Partners: who has trouble and of what kind; pause, resume, and cancel a push."""

from starlette.responses import Response

from messages import PushCancelRequested
from store import backlog, operation_queries, operations, partner_states, partners, pauses, pushes
from store.partner_states import PartnerState
from worker.operations import pausing
from worker.rules.pauses import PAUSES
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit

ON_A_PAGE = 200


def show_list(visit: Visit) -> Response:
    """Partners with trouble, or all whose id has a text."""
    text, everybody = visit.asked("text").strip(), visit.asked("show") == "all"
    with visit.site.database.begin() as tx:
        states = {one.partner_id: one for one in partner_states.read(tx)}
        known = partners.known(tx)
        paused = next((one for one in pauses.all_pauses(tx) if one.partner_id == pauses.EVERYBODY), None)
    troubled = [name for name, one in states.items() if one.has_trouble]
    names = sorted({*known, *states}) if everybody else troubled
    found = [states.get(name, PartnerState(name)) for name in names if text.lower() in name.lower()]
    return visit.page(
        "console/partners.html",
        partners=found[:ON_A_PAGE],
        more=max(0, len(found) - ON_A_PAGE),
        text=text,
        everybody=everybody,
        troubled=len(troubled),
        known=len({*known, *states}),
        all_paused=paused,
        reasons=PAUSES,
    )


def show(visit: Visit) -> Response:
    """One partner: troubles, pushes under way, and what operators did."""
    name = visit.asked("partner")
    with visit.site.database.begin() as tx:
        if name not in partners.known(tx):
            raise Refusal(404, "No such partner is known", "It never connected, mapped or pushed.")
        (state,) = partner_states.read(tx, name)
        given = {
            "state": state,
            "pause": pauses.find(tx, name),
            "open_lines": backlog.open_lines(tx, name),
            "pushes": partner_states.pushes_under_way(tx, name),
            "operations": operation_queries.newest(tx, 10, partner_id=name),
        }
    return visit.page("console/partner.html", partner=name, reasons=PAUSES, **given)


def pause(visit: Visit) -> Response:
    """Leave ConnectWise of a partner, or of all, alone."""
    who, why = _who(visit), visit.field("why").strip()
    if not why:
        raise Refusal(422, "Say why", "It is shown to whoever wonders why nothing moves.")
    with visit.site.database.begin() as tx:
        if who and who not in partners.known(tx):
            raise Refusal(404, "No such partner is known", "It never connected, mapped or pushed.")
        pausing.pause(tx, who, by=visit.by, why=why, origin="page")
    return _back(visit, who)


def resume(visit: Visit) -> Response:
    """End a pause."""
    who = _who(visit)
    with visit.site.database.begin() as tx:
        if who and who not in partners.known(tx):
            raise Refusal(404, "No such partner is known", "It never connected, mapped or pushed.")
    ended = pausing.resume(visit.site.database, who, by=visit.by, why=visit.field("why").strip() or None, origin="page")
    if not ended:
        raise Refusal(409, "It was not paused", "Somebody else may have ended the pause. It is kept that you tried.")
    return _back(visit, who)


def cancel(visit: Visit) -> Response:
    """Ask for the end of a push: what is written stays, the rest is not billed by it."""
    partner, push_id = visit.field("partner"), visit.field("push")
    with visit.site.database.begin() as tx:
        found = pushes.find(tx, partner, push_id)
    if found is None or found.state != "accepted":
        raise Refusal(409, "This push is over", "There is nothing to cancel.")
    at = visit.site.now()
    event = PushCancelRequested(
        partner_id=partner,
        correlation_id=f"cancel {at.isoformat()}",
        push_id=push_id,
        requested_at=at,
        requested_by=visit.by,
    )
    visit.site.send([event])
    why = visit.field("why").strip() or None
    with visit.site.database.begin() as tx:
        operations.note(
            tx, "cancel", by=visit.by, why=why, origin="page", partner_id=partner, chosen={"push_id": push_id}
        )
    return visit.go("/console/partners/one", partner=partner)


def _who(visit: Visit) -> str:
    """The partner, or EVERYBODY if all are meant."""
    partner = visit.field("partner")
    if not partner and visit.field("everybody") != "yes":
        raise Refusal(400, "No partner is named", "Go back, and choose one.")
    return partner or pauses.EVERYBODY


def _back(visit: Visit, who: str) -> Response:
    return visit.go("/console/partners/one", partner=who) if who else visit.go("/console/partners")


PAGES = (
    Page("GET", "/console/partners", Right.READ, show_list),
    Page("GET", "/console/partners/one", Right.READ, show),
    Page("POST", "/console/partners/pause", Right.WRITE, pause),
    Page("POST", "/console/partners/resume", Right.WRITE, resume),
    Page("POST", "/console/pushes/cancel", Right.WRITE, cancel),
)

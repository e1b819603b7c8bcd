"""Questions for choices: each is answered at once from a list that was read minutes ago, else in the partner's run.

A question is not retried, as somebody waits for it: if ConnectWise cannot be asked, the answer is the reason.
"""

from datetime import timedelta
from typing import Any

import structlog

from messages import CatalogListed, CatalogRequested, Problem, derived_id
from store import Tx, catalog, connections, leases, mappings, now, outbox, pauses
from store.catalog import Question
from store.mappings import Mapping
from worker.catalog.choices import Listing
from worker.rules.outcomes import RETRIED, ErrorOutcome
from worker.rules.problems import problem

# A list answers further questions for so long.
FRESH = timedelta(minutes=10)

# Questions answered at a time.
BATCH = 100

# The key of the list of all companies.
COMPANIES = "companies"

_ASK_AGAIN = "Try again in some minutes. If it lasts, check that ConnectWise can be reached."

_WHY_PAUSED = {
    "unreachable": problem("unreachable", reason="It could not be reached several times in a row."),
    "rate_limited": problem("rate_limited"),
    "client_id": problem("client_id"),
    "api_version": problem("api_version"),
    "request_refused": problem("request_refused", reason="every request so far."),
    "seal_key_missing": problem("seal_key_missing"),
    "moved": problem("moved", reason="it is looked up again."),
}

# The content of an answer: fields of CatalogListed.
AnswerFields = dict[str, Any]

log = structlog.get_logger()


def answer_or_queue(tx: Tx, event: CatalogRequested) -> bool:
    """Answer a question from a stored list, or with the problem; else store it and wake the partner.

    Returns True if it was answered. A question that comes again gets the same answer, with the same id. Call it inside
    `Database.partner`.
    """
    question = catalog.ask(tx, event.partner_id, str(event.id), event.model_dump_json())
    if question is not None and question.answer is not None:
        _send(tx, event, CatalogListed.model_validate_json(question.answer, extra="ignore"))
        return True
    fields = _immediate_answer(tx, event) if question is not None else None
    if fields is None:
        leases.wake(tx, event.partner_id)
        return False
    answer(tx, event, fields)
    return True


def drop_lists(tx: Tx, partner_id: str) -> None:
    """Drop the partner's stored lists: all are read anew."""
    catalog.forget(tx, partner_id)


def answer_all(tx: Tx, partner_id: str, problem: Problem) -> None:
    """Answer all waiting questions of the partner with this problem."""
    while waiting := catalog.due(tx, partner_id, BATCH):
        for question in waiting:
            answer(tx, event_of(question), {"problem": problem})


def problem_of_pause(code: str | None) -> Problem:
    """Return the problem that a question meets during a pause, by the code of the problem that led to the pause."""
    return _ask_again(_WHY_PAUSED.get(code or "", problem("unexpected")))


def problem_of_outcome(outcome: ErrorOutcome) -> Problem:
    """Return the problem that answers a question after an error."""
    return _ask_again(outcome.problem) if isinstance(outcome, RETRIED) else outcome.problem


def connected_mappings(tx: Tx, partner_id: str) -> dict[str, Mapping]:
    """Return by company the mappings, without tombstones, that were made under the ConnectWise that is connected."""
    history = connections.tenant_history(tx, partner_id)
    tenant = history[-1][1] if history else None
    return {
        mapping.company_id: mapping
        for mapping in mappings.of_partner(tx, partner_id)
        if mapping.cw_company_id is not None and connections.tenant_at(history, mapping.changed_at) == tenant
    }


def _immediate_answer(tx: Tx, event: CatalogRequested) -> AnswerFields | None:
    """Return the answer that needs no ConnectWise; None = it has to be asked."""
    connection = connections.current(tx, event.partner_id)
    if connection is None or connection.tenant is None:
        return {"problem": problem("not_connected")}
    if event.kind != "suggestions" and not event.refresh:
        key = key_of(event)
        kept = catalog.cached(tx, event.partner_id, connection.tenant, [key]).get(key)
        if kept is not None and kept.fetched_at > now(tx) - FRESH:
            return page_of(event, Listing(kept.fetched_at, kept.text))
    if pauses.find(tx, event.partner_id) is not None:
        return {"problem": problem("paused")}
    return None


def answer(tx: Tx, event: CatalogRequested, fields: AnswerFields) -> None:
    """Store the answer with its question and send it, unless the question has been answered meanwhile."""
    listed = CatalogListed(
        id=derived_id(event.time, "catalog.listed", event.partner_id, str(event.id)),
        partner_id=event.partner_id,
        correlation_id=event.correlation_id,
        causation_id=str(event.id),
        traceparent=event.traceparent,
        kind=event.kind,
        cw_company_id=event.cw_company_id,
        agreement_id=event.agreement_id,
        search=event.search,
        page=event.page,
        **fields,
    )
    if catalog.answer(tx, event.partner_id, str(event.id), listed.model_dump_json()):
        _send(tx, event, listed)
        why = listed.problem.code if listed.problem else None
        log.info("catalog.answered", kind=event.kind, question=str(event.id), problem=why)


def _send(tx: Tx, event: CatalogRequested, listed: CatalogListed) -> None:
    if event.reply_to is None:
        outbox.put(tx, listed)
    else:
        outbox.put_reply(tx, listed, event.reply_to)


def event_of(question: Question) -> CatalogRequested:
    """Return the event of a question that still waits."""
    return CatalogRequested.model_validate_json(question.event or "", extra="ignore")


def _ask_again(why: Problem) -> Problem:
    return why.model_copy(update={"fix": _ASK_AGAIN})


def page_of(event: CatalogRequested, listing: Listing) -> AnswerFields:
    """Return the wanted page of a list."""
    page = listing.page(event.search, event.page)
    return {"choices": tuple(page.choices), "more": page.more, "fetched_at": listing.fetched_at}


def key_of(event: CatalogRequested) -> str:
    """Return the key of the list to read: `companies`, `agreements 250` of a company, `additions 7` of an agreement."""
    match event.kind:
        case "agreements":
            return f"agreements {event.cw_company_id}"
        case "additions":
            return f"additions {event.agreement_id}"
    return COMPANIES

"""Mapping one company: each choice is sent as it is made, unfinished too; the terms; and the lists to choose from."""

import re
from typing import Any, Literal, TypeVar, get_args

from pydantic import ValidationError
from starlette.responses import Response

from messages import CatalogListed, CatalogRequested, MappingChanged
from messages.values import MAX_COUNT
from store import Tx, catalog, connections, now, portal
from store.portal import Choice
from worker.catalog import questions
from worker.catalog.choices import Listing
from worker.spreadsheet import MAX_CW_ID
from worker.validation_words import in_words
from worker.web.pages import Page
from worker.web.portal import rows as company_rows
from worker.web.portal.one_row import find_row, row_of
from worker.web.portal.rows import CompanyRow
from worker.web.rights import Right
from worker.web.visit import Refusal, Visit

Kind = Literal["companies", "agreements", "additions"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEARCH = 200

T = TypeVar("T")


def show(visit: Visit) -> Response:
    """One company with its terms; without scripts also the lists to choose from."""
    return _page(visit, _row(visit, visit.asked("company")))


def listed(visit: Visit) -> Response:
    """The choices of a drop-down that match what is typed; those that are not read yet are asked for."""
    kind, question = _kind(visit.field("kind")), visit.field("question")
    event = _question(visit, kind, _id(visit.field("parent")), visit.field("search"))
    answer = _choices(visit, event, question)
    if answer is None and not question:
        visit.site.send([event])
        question = str(event.id)
    return visit.page("portal/_choices.html", kind=kind, **(answer or _waiting(question)))


def ask(visit: Visit) -> Response:
    """Ask for the choices of a list, for a page without scripts, which then shows them."""
    kind, search = _kind(visit.field("kind")), visit.field("search")
    row = _row(visit, visit.field("company"))
    event = _question(visit, kind, _parent(row, kind), search)
    question = None
    if _choices(visit, event, "") is None:
        visit.site.send([event])
        question = str(event.id)
    return visit.go(
        "/portal/company",
        company=row.company_id,
        period=visit.asked("period"),
        kind=kind,
        search=search,
        question=question,
    )


def choose(visit: Visit) -> Response:
    """Send what was chosen in a drop-down. Another company takes the agreement back, another agreement the addition."""
    kind, chosen = _kind(visit.field("kind")), _id(visit.field("id"))
    with visit.site.choosing.by(visit.partner):
        row = _row(visit, visit.field("company"))
        if _parent(row, kind) != _id(visit.field("parent")):
            raise Refusal(409, "It was mapped otherwise meanwhile", "Load the page anew, and look at what is chosen.")
        place = KINDS.index(kind)
        if row.ids[place] == chosen:
            ids, names = row.ids, row.names
        else:
            after = (None, None)
            ids = _three((*row.ids[:place], chosen, *after))
            names = _three((*row.names[:place], visit.field("name")[:256] or None, *after))
        event = _event(visit, row, ids=ids)
        _send(visit, event, names)
    if visit.is_partial:
        return row_of(visit, row.company_id, saved=True)
    return visit.go("/portal/company", company=row.company_id, period=visit.asked("period"))


def set_terms(visit: Visit) -> Response:
    """Send the terms: the rule of a shared addition, a minimum, and whether it may be not Billable."""
    minimum = visit.field("minimum").strip()
    if minimum and not (re.fullmatch("[0-9]{1,9}", minimum) and int(minimum) <= MAX_COUNT):
        row = _row(visit, visit.field("company"))
        return _page(visit, row, {"minimum": f"is no whole number up to {MAX_COUNT:,}"}, 422)
    terms = {
        "rule": "sum" if visit.field("rule") == "sum" else "refuse",
        "minimum": int(minimum) if minimum else None,
        "allow_not_billable": visit.field("allow_not_billable") == "yes",
    }
    with visit.site.choosing.by(visit.partner):
        row = _row(visit, visit.field("company"))
        _send(visit, _event(visit, row, **terms), row.names)
    return visit.go("/portal/company", company=row.company_id, period=visit.asked("period"), saved=1)


def unmap(visit: Visit) -> Response:
    """Send that the company is not mapped any more."""
    with visit.site.choosing.by(visit.partner):
        row = _row(visit, visit.field("company"))
        _send(visit, _event(visit, row, ids=company_rows.NOTHING), (None, None, None))
    return visit.go("/portal/companies", period=visit.asked("period"))


def _page(visit: Visit, row: CompanyRow, problems: dict[str, str] | None = None, status: int = 200) -> Response:
    kind, question, search = visit.asked("kind"), visit.asked("question"), visit.asked("search")
    answer: dict[str, Any] = {}
    parent = None
    if kind in KINDS and (kind == KINDS[0] or row.ids[KINDS.index(_kind(kind)) - 1] is not None):
        parent = _parent(row, _kind(kind))
        event = _question(visit, _kind(kind), parent, search)
        answer = _choices(visit, event, question) or (_waiting(question) if question else {})
    given = {"row": row, "kind": kind, "parent": parent, "answer": answer, "problems": problems or {}}
    given["search"] = search
    return visit.page("portal/company.html", status, period=visit.asked("period"), **given)


def _parent(row: CompanyRow, kind: Kind) -> int | None:
    """The record that a list belongs to: the company of agreements, the agreement of additions."""
    place = KINDS.index(kind)
    if not place:
        return None
    if row.ids[place - 1] is None:
        raise Refusal(409, "Choose from left to right", "First the company, then its agreement, then its addition.")
    return row.ids[place - 1]


def _question(visit: Visit, kind: Kind, parent: int | None, search: str) -> CatalogRequested:
    """The question for a list. Raises Refusal for a text that cannot be searched for."""
    try:
        return CatalogRequested(
            partner_id=visit.partner,
            correlation_id=f"portal {kind}",
            kind=kind,
            search=search.strip()[:SEARCH] or None,
            **({"cw_company_id": parent} if kind == "agreements" else {"agreement_id": parent} if parent else {}),
        )
    except ValidationError as error:
        words = in_words(error.errors(include_url=False, include_input=False)[0])
        raise Refusal(422, "This cannot be searched for", f"What is typed {words}.") from None


def _choices(visit: Visit, event: CatalogRequested, question: str) -> dict[str, Any] | None:
    """`choices` and `more`, or a `problem`; None = they are not read yet, or the question is not answered."""
    with visit.site.database.begin() as tx:
        if (kept := _kept(tx, event)) is not None:
            page = kept.page(event.search, 1)
            return {"choices": page.choices, "more": page.more, "problem": None, "question": None}
        asked = catalog.find(tx, event.partner_id, question) if question else None
    if asked is None or asked.answer is None:
        return None
    answer = CatalogListed.model_validate_json(asked.answer, extra="ignore")
    if any(getattr(answer, name) != getattr(event, name) for name in ("kind", "cw_company_id", "agreement_id")):
        # The address names a question about what was chosen before.
        return None
    return {"choices": answer.choices, "more": answer.more, "problem": answer.problem, "question": None}


def _waiting(question: str) -> dict[str, Any]:
    """In place of choices: the question that is to be waited for."""
    return {"choices": (), "more": False, "problem": None, "question": question}


def _kept(tx: Tx, event: CatalogRequested) -> Listing | None:
    """The list that was read some minutes ago, under the ConnectWise that is connected."""
    connection = connections.current(tx, event.partner_id)
    if connection is None or connection.tenant is None:
        return None
    key = questions.key_of(event)
    kept = catalog.cached(tx, event.partner_id, connection.tenant, [key]).get(key)
    if kept is None or kept.fetched_at < now(tx) - questions.FRESH:
        return None
    return Listing(kept.fetched_at, kept.text)


def _row(visit: Visit, company_id: str) -> CompanyRow:
    row = find_row(visit, company_id)
    if row is None:
        raise Refusal(404, "There is no such company", "Import the counts of this period first.")
    return row


def _event(visit: Visit, row: CompanyRow, **changes: Any) -> MappingChanged:  # noqa: ANN401 - ids, or terms
    ids = changes.pop("ids", row.ids)
    at = visit.site.now()
    terms = {"rule": row.rule, "minimum": row.minimum, "allow_not_billable": row.allow_not_billable}
    return MappingChanged(
        partner_id=visit.partner,
        correlation_id=f"mapping {at.isoformat()}",
        changed_at=at,
        company_id=row.company_id,
        company_name=row.company_name,
        cw_company_id=ids[0],
        agreement_id=ids[1],
        addition_id=ids[2],
        **(terms | changes),
    )


def _send(visit: Visit, event: MappingChanged, names: tuple[str | None, str | None, str | None]) -> None:
    visit.site.send([event])
    with visit.site.database.begin() as tx:
        portal.keep_choices(tx, [Choice(event, names)])


def _three(values: tuple[T | None, ...]) -> tuple[T | None, T | None, T | None]:
    return (values[0], values[1], values[2])


def _kind(text: str) -> Kind:
    for kind in KINDS:
        if text == kind:
            return kind
    raise Refusal(422, "There is no such list", "Load the page anew.")


def _id(text: str) -> int | None:
    if not text:
        return None
    if not (re.fullmatch("[0-9]{1,19}", text) and 0 < int(text) <= MAX_CW_ID):
        raise Refusal(422, "This is no record of ConnectWise", "Choose one of the list.")
    return int(text)


PAGES = (
    Page("GET", "/portal/company", Right.COORDINATE, show),
    Page("POST", "/portal/choices", Right.COORDINATE, listed),
    Page("POST", "/portal/company", Right.COORDINATE, ask),
    Page("POST", "/portal/map", Right.COORDINATE, choose),
    Page("POST", "/portal/terms", Right.COORDINATE, set_terms),
    Page("POST", "/portal/unmap", Right.COORDINATE, unmap),
)

"""The forms of one company: a mapping is sent whole, so nothing just saved is lost; reading asks for nothing."""

import json

import pytest
from sqlalchemy import select

from messages import CatalogListed, CatalogRequested, MappingChanged, PhinCompany, Suggestion
from store import Database, catalog, connections, portal
from store.schema import outbox
from tests.support.samples import PARTNER, connection
from tests.support.visitors import Visitor
from worker.web.site import Site

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])
PERIOD = "2025-11"
COMPANY = f"/portal/company?partner={PARTNER}&period={PERIOD}&company=c-1"
FORM = f"/portal/connect?partner={PARTNER}"


def _post(visitor: Visitor, page: str, **fields: str) -> int:
    return visitor.post(f"/portal/{page}?partner={PARTNER}&period={PERIOD}", fields, page=FORM).status_code


def _sent(database: Database) -> list[str]:
    """The types of all events that were sent, the oldest first."""
    with database.begin() as tx:
        return [json.loads(body)["type"] for body in tx.execute(select(outbox.c.body).order_by(outbox.c.id)).scalars()]


def _last_mapping(database: Database) -> MappingChanged:
    with database.begin() as tx:
        return portal.choices(tx, PARTNER)["c-1"].event


@pytest.fixture
def visitor(local_site: Site, database: Database) -> Visitor:
    """A coordinator with one imported company, before a ConnectWise that no worker asks."""
    with database.begin() as tx:
        connections.save(tx, connection(at=-10))
    found = Visitor(local_site)
    counts = {"counts": ("counts.csv", b"company_id,company_name,billable_users\nc-1,Acme,21\n")}
    found.post(f"/portal/counts?partner={PARTNER}", {"period": PERIOD}, page=FORM, files=counts)
    return found


def _suggested(database: Database) -> None:
    """The answer to a question for suggestions."""
    company = PhinCompany(company_id="c-1", company_name="Acme")
    question = CatalogRequested(partner_id=PARTNER, correlation_id="q", kind="suggestions", companies=(company,))
    suggestion = Suggestion(
        company_id="c-1",
        cw_company_id=250,
        cw_company_name="Acme",
        score=1,
        reason="exact",
        ambiguous=False,
        certain=True,
    )
    answer = CatalogListed(partner_id=PARTNER, correlation_id="q", kind="suggestions", suggestions=(suggestion,))
    with database.begin() as tx:
        catalog.ask(tx, PARTNER, str(question.id), question.model_dump_json())
        catalog.answer(tx, PARTNER, str(question.id), answer.model_dump_json())
        portal.keep_questions(tx, PARTNER, [str(question.id)])


@pytest.mark.parametrize("bulk", [True, False], ids=["all certain", "one"])
def test_a_suggestion_keeps_terms_that_no_worker_has_yet(visitor: Visitor, database: Database, bulk: bool) -> None:  # noqa: FBT001 - parametrized
    """A minimum that was saved a moment ago is in the mapping that accepting a suggestion sends."""
    _suggested(database)
    assert _post(visitor, "terms", company="c-1", rule="sum", minimum="7") == 303
    form = {} if bulk else {"company": "c-1", "cw_company": "250"}
    assert _post(visitor, "suggestions/accept-certain" if bulk else "suggestions/accept", **form) == 303
    event = _last_mapping(database)
    assert (event.cw_company_id, event.rule, event.minimum) == (250, "sum", 7)


def test_a_choice_keeps_terms_that_no_worker_has_yet(visitor: Visitor, database: Database) -> None:
    """The same for a choice in a list, and for terms that are saved after it."""
    assert _post(visitor, "terms", company="c-1", rule="sum", minimum="7") == 303
    assert _post(visitor, "map", company="c-1", kind="companies", id="250", name="Acme") == 303
    assert _post(visitor, "terms", company="c-1", rule="sum", minimum="8") == 303
    event = _last_mapping(database)
    assert (event.cw_company_id, event.rule, event.minimum) == (250, "sum", 8)


def test_to_look_at_a_list_asks_nothing_of_connectwise(visitor: Visitor, database: Database) -> None:
    """A link to a page, which anybody may set, sends nothing: the form does, and leads to its answer."""
    before = _sent(database)
    assert visitor.get(f"{COMPANY}&kind=companies").status_code == 200
    assert visitor.get(f"{COMPANY}&kind=agreements").status_code == 200
    assert _sent(database) == before
    answer = visitor.post(COMPANY, {"company": "c-1", "kind": "companies", "search": "ac"}, page=FORM)
    assert (answer.status_code, _sent(database)[len(before) :]) == (303, ["catalog.requested.v1"])
    assert "ConnectWise is being read" in visitor.get(answer.headers["location"]).text

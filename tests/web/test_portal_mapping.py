"""The forms of one company: a mapping is sent whole, so nothing just saved is lost; reading asks for nothing."""

import json

import pytest
from sqlalchemy import select, update

from messages import CatalogListed, CatalogRequested, ConnectionChecked, MappingChanged, PhinCompany, Suggestion
from messages.catalog import Choice as CatalogChoice
from store import Database, catalog, connections, newest_versions, now, portal
from store.database import db_now
from store.portal_watch import state_of_partner
from store.schema import outbox, portal_connections, portal_questions
from tests.support.samples import PARTNER, connection, minute
from tests.support.visitors import Visitor
from worker.web import partner_locks
from worker.web.site import Site

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])
PERIOD = "2025-11"
COMPANY = f"/portal/company?partner={PARTNER}&period={PERIOD}&company=c-1"
FORM = f"/portal/connect?partner={PARTNER}&change=1"


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


def _suggested(
    database: Database, agreement: CatalogChoice | None = None, addition: CatalogChoice | None = None
) -> None:
    """The answer to a question for suggestions."""
    company = PhinCompany(company_id="c-1", company_name="Acme")
    question = CatalogRequested(partner_id=PARTNER, correlation_id="q", kind="suggestions", companies=(company,))
    suggestion = Suggestion(
        agreement=agreement,
        addition=addition,
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


def test_a_list_of_another_company_is_not_chosen_from(visitor: Visitor, database: Database) -> None:
    """A window that is open since before another company was chosen cannot mix the records of both."""
    choose = {"company": "c-1", "kind": "companies", "parent": ""}
    assert _post(visitor, "map", **choose, id="250", name="Acme") == 303
    assert _post(visitor, "map", **choose, id="777", name="Bolt") == 303
    stale = {"company": "c-1", "kind": "agreements", "id": "7", "name": "Managed"}
    assert _post(visitor, "map", **stale, parent="250") == 409
    assert (_last_mapping(database).cw_company_id, _last_mapping(database).agreement_id) == (777, None)
    assert _post(visitor, "map", **stale, parent="777") == 303


def test_a_suggestion_replaces_no_choice(visitor: Visitor, database: Database) -> None:
    """A suggestion for a company that was mapped otherwise meanwhile is refused with a word, and nothing is sent."""
    _suggested(database)
    assert _post(visitor, "map", company="c-1", kind="companies", id="777", name="Bolt") == 303
    assert _post(visitor, "suggestions/accept", company="c-1", cw_company="250") == 409
    with database.begin() as tx:
        choice = portal.choices(tx, PARTNER)["c-1"]
    assert (choice.event.cw_company_id, choice.names) == (777, ("Bolt", None, None))


def test_what_is_not_mapped_has_no_name(visitor: Visitor, database: Database) -> None:
    """An addition that is not certain to be Phin's is not shown as mapped where its company and agreement are."""
    _suggested(database, CatalogChoice(id=7, name="Managed"), CatalogChoice(id=11, name="Backup seats"))
    assert _post(visitor, "suggestions/accept-certain") == 303
    with database.begin() as tx:
        choice = portal.choices(tx, PARTNER)["c-1"]
    assert (choice.event.addition_id, choice.names) == (None, ("Acme", "Managed", None))


def test_suggestions_that_are_lost_can_be_asked_for_again(visitor: Visitor, database: Database) -> None:
    """Neither a question that nobody answers nor an answer that was pruned keeps the page waiting for ever."""
    page = f"/portal/companies?partner={PARTNER}&period={PERIOD}"
    assert _post(visitor, "suggestions") == 303
    assert "0 of 1 lists are there" in visitor.get(page).text
    with database.begin() as tx:
        tx.execute(update(portal_questions).values(asked_at=db_now(-121)))
    assert "Suggest for 1 company" in visitor.get(page).text


def test_one_partner_does_not_wait_for_another(
    visitor: Visitor, local_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a change of one partner is being sent, others' go on; a second one of that partner is refused in time."""
    monkeypatch.setattr(partner_locks, "WAIT_SECONDS", 0.01)
    choice = {"company": "c-1", "kind": "companies", "id": "250", "name": "Acme"}
    with local_site.choosing.by("msp-2"):
        assert _post(visitor, "map", **choice) == 303
    with local_site.choosing.by(PARTNER):
        assert _post(visitor, "map", **choice) == 503


def test_a_check_that_was_asked_for_is_awaited(visitor: Visitor, database: Database) -> None:
    """The page of a connection shows no old finding as if it were that of the check which was just asked for."""
    with database.begin() as tx:
        checked = ConnectionChecked(partner_id=PARTNER, correlation_id="c", changed_at=minute(-10), status="ok")
        connections.save_check(tx, connection(at=-10), checked.model_dump(mode="json"))
    page = visitor.get(f"/portal/connect?partner={PARTNER}").text
    assert "✓ Connected" in page
    asked = visitor.post(f"/portal/connect/check?partner={PARTNER}", page=FORM).headers["location"]
    page = visitor.get(asked).text
    assert ("ConnectWise is being checked" in page, "✓ Connected" in page) == (True, False)


def test_a_page_hears_that_nothing_is_awaited_any_more(visitor: Visitor, database: Database) -> None:
    """The end of waiting for suggestions is a change that an open page follows, though nothing has come."""
    assert _post(visitor, "suggestions") == 303
    with database.begin() as tx:
        before = state_of_partner(tx, PARTNER)
        tx.execute(update(portal_questions).values(asked_at=db_now(-121)))
        assert state_of_partner(tx, PARTNER) != before


def test_a_connection_that_does_not_arrive_is_named(visitor: Visitor, database: Database) -> None:
    """New keys that no worker has are said on the page, whoever opens it, and can be entered again after a minute."""
    page = f"/portal/connect?partner={PARTNER}"
    with database.begin() as tx:
        newest_versions.keep_connection(tx, PARTNER, now(tx))
    assert "Your connection is on its way" in visitor.get(page).text
    assert "Enter it again" not in visitor.get(page).text
    with database.begin() as tx:
        tx.execute(update(portal_connections).values(changed_at=db_now(-61)))
    shown = visitor.get(page).text
    assert ("No worker has it yet" in shown, "Enter it again" in shown) == (True, True)
    assert 'name="private_key"' in visitor.get(f"{page}&change=1").text


def test_to_look_at_a_list_asks_nothing_of_connectwise(visitor: Visitor, database: Database) -> None:
    """A link to a page, which anybody may set, sends nothing: the form does, and leads to its answer."""
    before = _sent(database)
    assert visitor.get(f"{COMPANY}&kind=companies").status_code == 200
    assert visitor.get(f"{COMPANY}&kind=agreements").status_code == 200
    assert _sent(database) == before
    answer = visitor.post(COMPANY, {"company": "c-1", "kind": "companies", "search": "ac"}, page=FORM)
    assert (answer.status_code, _sent(database)[len(before) :]) == (303, ["catalog.requested.v1"])
    assert "ConnectWise is being read" in visitor.get(answer.headers["location"]).text

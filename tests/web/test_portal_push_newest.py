"""Only the newest numbers are pushed: a page that was left open, or gone back to, cannot bring older ones back."""

import re
from uuid import uuid4

import pytest
from sqlalchemy import update

from messages import LineStatus
from store import Database, connections, mappings, newest_versions, portal
from store.database import db_now
from store.portal import Choice
from store.schema import portal_counts, portal_requests, pushes
from tests.support.portal_pushes import FORM, IMPORT, PUSH, ended, sent
from tests.support.samples import PARTNER, connection, disconnect, mapping, mapping_changed, minute, push
from tests.support.visitors import Visitor
from worker.web.site import Site

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])
MONTH = "2025-11"
TO_PUSH = "Push to ConnectWise"
NOT_NEWEST = "These numbers are not the newest"


def test_an_old_preview_is_not_pushed_over_newer_counts(local_site: Site, database: Database) -> None:
    """An import after a preview is not lost when the page of that preview is gone back to."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    assert TO_PUSH in _page(visitor, "old")
    _import(visitor, "c-1,Acme,30\n")
    page = _page(visitor, "old")
    assert (NOT_NEWEST in page, TO_PUSH in page) == (True, False)
    answer = visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM)
    assert (answer.status_code, NOT_NEWEST in answer.text, sent(database)) == (409, True, [])


def test_an_old_preview_is_not_pushed_after_a_newer_push(local_site: Site, database: Database) -> None:
    """Numbers that came from elsewhere than the portal are not lost either; a refused push has brought none."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    ended(database, push("refused", {"c-1": 30}, at=1), {"c-1": "failed"}, end="refused")
    assert TO_PUSH in _page(visitor, "old")
    ended(database, push("newer", {"c-1": 30}, at=2), {"c-1": "updated"})
    page = _page(visitor, "old")
    assert (NOT_NEWEST in page, TO_PUSH in page) == (True, False)
    answer = visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM)
    assert (answer.status_code, sent(database)) == (409, [])


@on_sqlite
@pytest.mark.parametrize(("status", "button"), [("failed", "Retry 1 failed"), ("held", "Push again with")])
def test_an_old_push_is_not_repeated_over_newer_counts(
    local_site: Site, database: Database, status: LineStatus, button: str
) -> None:
    """A retry, or a confirmation, of a push whose counts were imported anew since is refused."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    event = push("old", {"c-1": 21})
    ended(database, event, {"c-1": status})
    form = {"of": "old", "mode": "apply"} | ({"only": "failed"} if status == "failed" else {})
    _import(visitor, "c-1,Acme,30\n")
    assert button not in _page(visitor, "old")
    assert visitor.post(PUSH, form, page=FORM).status_code == 409
    _import(visitor, "c-1,Acme,21\n")
    assert visitor.post(PUSH, form, page=FORM).status_code == 303
    assert [line.billable_users for one in sent(database) for line in one.lines] == [21]


@on_sqlite
def test_what_failed_is_retried_though_others_have_newer_counts(local_site: Site, database: Database) -> None:
    """A newer count of one company does not keep another from being retried."""
    visitor = Visitor(local_site)
    event = push("old", {"c-1": 21, "c-2": 5})
    ended(database, event, {"c-1": "updated", "c-2": "failed"})
    _import(visitor, "c-1,Acme,30\nc-2,Bolt,5\n")
    assert "Retry 1 failed" in _page(visitor, "old")
    answer = visitor.post(PUSH, {"of": "old", "only": "failed", "mode": "apply"}, page=FORM)
    assert (answer.status_code, [line.company_id for line in sent(database)[0].lines]) == (303, ["c-2"])


@on_sqlite
def test_a_preview_is_not_pushed_with_another_mapping(local_site: Site, database: Database) -> None:
    """The quantities of another addition are looked at before they are written, also if no worker has the mapping."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    _choose(database, -1)
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    assert TO_PUSH in _page(visitor, "old")
    _choose(database, 1)
    page = _page(visitor, "old")
    assert (": its mapping was changed since" in page, TO_PUSH in page) == (True, False)
    answer = visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM)
    assert (answer.status_code, sent(database)) == (409, [])


@on_sqlite
def test_a_changed_mapping_is_a_remedy_of_what_failed(local_site: Site, database: Database) -> None:
    """Whoever maps a failed company to another addition retries it at once."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21}), {"c-1": "failed"})
    _choose(database, 1)
    assert "Retry 1 failed" in _page(visitor, "old")
    assert visitor.post(PUSH, {"of": "old", "only": "failed", "mode": "apply"}, page=FORM).status_code == 303
    assert [one.lines[0].mapping_changed_at for one in sent(database)] == [minute(1)]


@on_sqlite
def test_a_push_waits_for_what_was_just_saved(local_site: Site, database: Database) -> None:
    """A push right after a choice, or after new keys, is done with these, however late a worker gets them."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    _choose(database, 1)
    with database.begin() as tx:
        newest_versions.keep_connection(tx, PARTNER, minute(2))
        newest_versions.keep_connection(tx, PARTNER, minute(-5))
    assert visitor.post(PUSH, {"mode": "apply"}, page=FORM).status_code == 303
    [event] = sent(database)
    assert (event.connection_changed_at, event.lines[0].mapping_changed_at) == (minute(2), minute(1))
    with database.begin() as tx:
        mappings.save(tx, mapping(at=3))
        connections.save(tx, connection(at=4))
    assert visitor.post(PUSH, {"mode": "preview"}, page=FORM).status_code == 303
    event = sent(database)[-1]
    assert (event.connection_changed_at, event.lines[0].mapping_changed_at) == (minute(4), minute(3))


def test_a_double_click_pushes_once(local_site: Site, database: Database) -> None:
    """A form that is sent twice asks for one push, which a worker knows by its id; another form asks for another."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    form = {"mode": "apply", "form_id": str(uuid4())}
    first, second = (visitor.post(PUSH, form, page=FORM) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert len({one.model_dump_json(exclude={"id", "time"}) for one in sent(database)}) == 1
    other = visitor.post(PUSH, form | {"mode": "preview"}, page=FORM)
    again = visitor.post(PUSH, form | {"form_id": str(uuid4())}, page=FORM)
    assert len({one.headers["location"] for one in (first, other, again)}) == 3


def test_a_second_click_is_no_newer_push(local_site: Site, database: Database) -> None:
    """The push of a preview is not refused as overtaken by itself."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    form = {"of": "old", "mode": "apply", "form_id": str(uuid4())}
    first = visitor.post(PUSH, form, page=FORM)
    [event] = sent(database)
    ended(database, event, {"c-1": "updated"})
    second = visitor.post(PUSH, form, page=FORM)
    assert (second.status_code, second.headers["location"]) == (303, first.headers["location"])
    assert len(sent(database)) == 1


@on_sqlite
def test_a_form_that_is_shown_names_itself(local_site: Site, database: Database) -> None:
    """Every form that asks for a push, or takes one back, is one that can be sent twice."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    ended(database, push("old", {"c-1": 21}), {"c-1": "updated"})
    for page in (f"/portal/companies?partner={PARTNER}&period={MONTH}", f"{PUSH}&push=old"):
        form = r'<form method="post" action="/portal/(?:push|revert)[?"].*?</form>'
        forms = re.findall(form, visitor.get(page).text, re.DOTALL)
        assert forms
        assert all('name="form_id"' in form for form in forms)


def test_a_second_click_brings_no_older_numbers(local_site: Site, database: Database) -> None:
    """A form that failed to be sent, and is sent again once newer counts are there, is refused like any other."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    form = {"of": "old", "mode": "apply", "form_id": str(uuid4())}
    assert visitor.post(PUSH, form, page=FORM).status_code == 303
    _import(visitor, "c-1,Acme,30\n")
    assert visitor.post(PUSH, form, page=FORM).status_code == 409
    assert len(sent(database)) == 1


@on_sqlite
def test_a_preview_without_a_new_company_is_not_pushed(local_site: Site, database: Database) -> None:
    """Users of a company that was imported after the preview are not left out in silence."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    _import(visitor, "c-1,Acme,21\nc-2,Bolt,50\n")
    page = _page(visitor, "old")
    assert ("Bolt: it was imported since, and is not in it" in page, TO_PUSH in page) == (True, False)
    assert visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM).status_code == 409


@on_sqlite
def test_an_older_import_does_not_stand_in_the_way(local_site: Site, database: Database) -> None:
    """Numbers that came from elsewhere after an import are the newest, so what failed of them is retried as it was."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    _imported_before(database)
    ended(database, push("newer", {"c-1": 30, "c-2": 5}), {"c-1": "failed", "c-2": "failed"})
    assert "Retry 2 failed" in _page(visitor, "newer")
    assert visitor.post(PUSH, {"of": "newer", "only": "failed", "mode": "apply"}, page=FORM).status_code == 303
    assert [line.billable_users for line in sent(database)[0].lines] == [30, 5]


@on_sqlite
def test_a_retry_takes_no_confirmation_away(local_site: Site, database: Database) -> None:
    """After the retry of one company another can be confirmed: the newer push has the same users."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21, "c-2": 5}), {"c-1": "held", "c-2": "failed"})
    ended(database, push("retry", {"c-2": 5}, at=1), {"c-2": "updated"})
    assert NOT_NEWEST not in _page(visitor, "old")
    form = {"of": "old", "mode": "apply", "confirm": "c-1"}
    ended(database, push("other", {"c-2": 6}, at=2), {"c-2": "updated"})
    assert "a newer push has other users of it" in _page(visitor, "old")
    assert visitor.post(PUSH, form, page=FORM).status_code == 409
    ended(database, push("same", {"c-2": 5}, at=3), {"c-2": "updated"})
    assert visitor.post(PUSH, form, page=FORM).status_code == 303


@on_sqlite
def test_what_is_on_its_way_counts(local_site: Site, database: Database) -> None:
    """A push or a revert that no worker has yet overtakes an older page, too."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    ended(database, push("written", {"c-1": 21}), {"c-1": "updated"})
    assert visitor.post(f"/portal/revert?partner={PARTNER}", {"push": "written"}, page=FORM).status_code == 303
    assert "it was taken back since" in _page(visitor, "old")
    assert visitor.post(PUSH, {"of": "written", "mode": "apply"}, page=FORM).status_code == 409
    assert visitor.post(PUSH, {"of": "old", "mode": "preview"}, page=FORM).status_code == 303


@on_sqlite
def test_numbers_that_are_not_the_newest_are_not_previewed_again(local_site: Site, database: Database) -> None:
    """Else the new preview would be newer than the import that its numbers are older than."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    _choose(database, 1)
    page = _page(visitor, "old")
    assert ("Preview again" in page, TO_PUSH in page) == (True, False)
    assert visitor.post(PUSH, {"of": "old", "mode": "preview"}, page=FORM).status_code == 303
    _import(visitor, "c-1,Acme,30\n")
    assert "Preview again" not in _page(visitor, "old")
    assert visitor.post(PUSH, {"of": "old", "mode": "preview"}, page=FORM).status_code == 409


@on_sqlite
def test_what_was_taken_back_is_not_pushed_again(local_site: Site, database: Database) -> None:
    """A preview older than a revert shows quantities that have gone; what the revert left alone may be retried."""
    visitor = Visitor(local_site)
    ended(database, push("old", {"c-1": 21, "c-2": 5}), {"c-1": "updated", "c-2": "failed"})
    ended(database, push("preview", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    assert TO_PUSH in _page(visitor, "preview")
    revert = push("back", {"c-1": 21, "c-2": 5}, at=1)
    ended(database, revert, {"c-1": "updated", "c-2": "skipped"})
    with database.begin() as tx:
        tx.execute(update(pushes).where(pushes.c.push_id == "back").values(mode="revert", reverts="old"))
    page = _page(visitor, "preview")
    assert (": it was taken back since" in page, TO_PUSH in page) == (True, False)
    assert visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM).status_code == 409
    assert visitor.post(PUSH, {"of": "old", "mode": "apply", "only": "failed"}, page=FORM).status_code == 303


@on_sqlite
@pytest.mark.parametrize("changes", [{"tenant": "other"}, {}], ids=["another", "disconnected"])
def test_a_preview_of_another_connectwise_is_not_pushed(
    local_site: Site, database: Database, changes: dict[str, object]
) -> None:
    """The quantities of one ConnectWise say nothing about another."""
    visitor = Visitor(local_site)
    with database.begin() as tx:
        connections.save(tx, connection(at=-10))
    ended(database, push("old", {"c-1": 21}, mode="preview"), {"c-1": "preview"})
    assert TO_PUSH in _page(visitor, "old")
    with database.begin() as tx:
        connections.save(tx, connection(at=1, **changes) if "tenant" in changes else disconnect(at=1))
    page = _page(visitor, "old")
    assert ("Another ConnectWise is connected since, or none." in page, TO_PUSH in page) == (True, False)
    assert visitor.post(PUSH, {"of": "old", "mode": "apply"}, page=FORM).status_code == 409


@on_sqlite
@pytest.mark.parametrize(
    ("status", "said"),
    [("updated", "✓ Done"), ("unchanged", "✓ Done"), ("skipped", "Done: 1 not mapped"), ("held", "Done: 1 held"),
     ("failed", "Done: 1 failed"), ("superseded", "Done: 1 superseded")],
)  # fmt: skip
def test_only_what_went_well_is_done(local_site: Site, database: Database, status: LineStatus, said: str) -> None:
    """The heading of a push that billed nothing has no check mark."""
    ended(database, push("old", {"c-1": 21}), {"c-1": status})
    assert f"data-announce>{said}</h2>" in _page(Visitor(local_site), "old")


@on_sqlite
def test_a_push_that_nobody_takes_up_is_named(local_site: Site, database: Database) -> None:
    """After a minute the page of a push that no worker has says so; one that was never sent has no page."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    page = visitor.post(PUSH, {"mode": "apply"}, page=FORM).headers["location"]
    assert "A worker is about to take it up" in visitor.get(page).text
    with database.begin() as tx:
        tx.execute(update(portal_requests).values(sent_at=db_now(-61)))
    assert "No worker has taken it up yet" in visitor.get(page).text
    assert visitor.get(f"{PUSH}&push=never-sent&lines=5").status_code == 404


def _imported_before(database: Database) -> None:
    """Date the import before all pushes of these tests."""
    with database.begin() as tx:
        tx.execute(update(portal_counts).values(imported_at=minute(-60)))


def _choose(database: Database, at: float) -> None:
    """Choose an addition for the company in the portal, without a worker that stores it."""
    event = mapping_changed(1, changed_at=minute(at), cw_company_id=1, agreement_id=7, addition_id=99)
    with database.begin() as tx:
        portal.keep_choices(tx, [Choice(event, ("Acme", "Managed", "Phin"))])


def _import(visitor: Visitor, rows: str) -> None:
    text = f"company_id,company_name,billable_users\n{rows}"
    answer = visitor.post(IMPORT, {"period": MONTH}, page=FORM, files={"counts": ("counts.csv", text.encode())})
    assert answer.status_code == 303


def _page(visitor: Visitor, push_id: str) -> str:
    return visitor.get(f"{PUSH}&push={push_id}").text


@on_sqlite
@pytest.mark.parametrize("mode", [{}, {"mode": "aply"}])
def test_nothing_but_a_push_pushes(local_site: Site, database: Database, mode: dict[str, str]) -> None:
    """A form without a mode, or with another word, sends nothing."""
    visitor = Visitor(local_site)
    _import(visitor, "c-1,Acme,21\n")
    answer = visitor.post(f"{PUSH}?period={MONTH}", mode, page=FORM)
    assert (answer.status_code, sent(database)) == (400, [])


@on_sqlite
@pytest.mark.parametrize(
    "address",
    [
        f"/portal/companies?page={'9' * 5000}",
        "/portal/companies?page=x",
        "/portal/connect?since=abc",
        "/portal/connect?since=2025-11-01",
        *(f"{page}0001-01-01T00:00:00%2B14:00" for page in ("/portal/history?before=", "/console/letters?since=")),
    ],
)
def test_an_odd_address_is_a_page(local_site: Site, address: str) -> None:
    """A page is shown, whatever stands in its address; a text that it brings is not."""
    assert Visitor(local_site).get(f"{address}&partner=msp-1&accepted=call+us").status_code == 200
    assert "call us" not in Visitor(local_site).get(f"{address}&partner=msp-1&accepted=call+us").text

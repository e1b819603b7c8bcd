"""The operators' console without a browser: what it shows, what it does, and what it refuses.

Long, as its lists, actions and refusals are tried on the same letters and users.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from html import unescape

import httpx2
import pytest
from sqlalchemy import insert, select, update

from messages import KeyRing
from messages.sealing import seal_bytes
from store import Database, operation_queries, pauses, replays, schema
from store.database import db_now
from store.dead_letters import DeadLetter
from store.operation_queries import Operation
from tests.integration.test_corrections import LETTER as WRONG_LETTER
from tests.integration.test_corrections import RIGHT
from tests.integration.test_operations import HandledAtOnce
from tests.integration.test_store_dead_letters import add, kept, numbered
from tests.support.samples import push
from tests.support.store import accept
from tests.support.visitors import Visitor
from tests.support.waiting import wait_for
from worker.operations import corrections
from worker.operations.runner import OperationRunner
from worker.settings import Settings
from worker.web.site import Site


@pytest.fixture
def walt(site: Site) -> Visitor:
    """An operator who may act."""
    visitor = Visitor(site)
    visitor.sign_in("walt")
    return visitor


@pytest.fixture
def rita(site: Site) -> Visitor:
    """An operator who may only look."""
    visitor = Visitor(site)
    visitor.sign_in("rita")
    return visitor


@pytest.fixture
def runner(site: Site) -> Iterator[OperationRunner]:
    """The process of the pages carries out actions beside them."""
    with OperationRunner(site.database, site.begun) as runner:
        yield runner


def _text(response: httpx2.Response) -> str:
    """The text of a page, as it is read."""
    body = re.sub(r"<(head|script|style)\b.*?</\1>", " ", response.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def _shown_form(checked: httpx2.Response) -> dict[str, str]:
    """The hidden fields of the form that a dry run shows."""
    (form,) = re.findall(r'<form[^>]*action="/console/letters/begin".*?</form>', checked.text, re.DOTALL)
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}


def _ended(database: Database, response: httpx2.Response) -> Operation:
    """The action that a form has begun, once it is over."""
    assert response.status_code == 303, _text(response)
    operation_id = response.headers["location"].partition("id=")[2]

    def over() -> Operation | None:
        with database.begin() as tx:
            found = operation_queries.required(tx, operation_id)
        return None if found.state == "running" else found

    ended = wait_for(over, "the end of the action")
    assert ended is not None
    return ended


def _seen(letter: DeadLetter) -> str:
    """The field of a form that was shown for this letter."""
    return sha256(letter.body).hexdigest()


def _partner(database: Database, *names: str) -> None:
    with database.begin() as tx:
        for name in names:
            row = {"partner_id": name, "changed_at": db_now(), "message_id": "m", "disconnected": True}
            tx.execute(insert(schema.connections).values(row))


PAGES = ("now", "queues", "letters", "letters/groups", "partners", "partners?show=all", "operations")


@pytest.mark.parametrize("page", PAGES)
def test_an_installation_without_anything_explains_itself(rita: Visitor, page: str) -> None:
    """Every page has something to say before anything has happened."""
    shown = rita.get(f"/console/{page}")
    assert shown.status_code == 200
    assert not re.search(r"None\b(?! has| of)(?=</)", shown.text) or page == "now"


def test_filters_narrow_the_list_and_stay_in_its_links(database: Database, walt: Visitor) -> None:
    """Partner, kind, reason, time and a text in the error combine; pages, groups and actions keep them."""
    add(database, *(numbered(number, partner_id="p1", reason="exhausted") for number in range(1, 61)))
    add(database, numbered(70, partner_id="p2"), numbered(71, partner_id="p1", error="address is wrong"))
    shown = walt.get("/console/letters?partner=p1&reason=exhausted&text=IS+wrong&since=2h")
    assert "60 dead letters" in _text(shown)
    assert "p2" not in _text(shown)
    (older,) = re.findall(r'href="(/console/letters\?[^"]*before=[^"]*)"', shown.text)
    second = walt.get(unescape(older))
    assert "60 dead letters" in _text(second)
    seen = [re.findall(r'name="id" value="([0-9a-f-]+)" data-choose', page.text) for page in (shown, second)]
    assert [len(seen[0]), len(seen[1]), len({*seen[0], *seen[1]})] == [50, 10, 60]
    assert 'name="f_reason" value="exhausted"' in shown.text
    assert "There are no such dead letters" in _text(walt.get("/console/letters?until=2h"))
    wrong = walt.get("/console/letters?since=yesterday&partner=p1")
    assert "Write 2026-11-22T10:00 (UTC)" in _text(wrong)
    assert "All 61 that match" not in _text(wrong)


def test_groups_lead_to_their_letters(database: Database, rita: Visitor) -> None:
    """A cause is opened by one link, and shows exactly its letters."""
    add(database, *(numbered(number, partner_id=f"p{number}") for number in range(1, 4)))
    add(database, numbered(9, reason="crashed", error_type=None, error_at=""))
    groups = rita.get("/console/letters/groups")
    assert "2 groups with 4 dead letters" in _text(groups)
    links = re.findall(r'href="(/console/letters\?group=[^"]*)"', groups.text)
    for link, found in zip(links, ("3 dead letters", "1 dead letter"), strict=True):
        assert f" {found} " in _text(rita.get(unescape(link)))


@pytest.mark.usefixtures("runner")
def test_all_that_match_are_replayed_after_a_dry_run(
    site: Site, database: Database, walt: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run changes nothing and says what is refused; the action ends as done and refused, with who and why."""
    worker = HandledAtOnce(database)
    add(database, *(numbered(number) for number in range(1, 121)), numbered(200, queue="of somebody"))
    form = {"kind": "replay", "everything": "yes", "f_state": "open"}
    checked = walt.post("/console/letters/check", form, page="/console/letters")
    assert "Replay 120 dead letters?" in _text(checked)
    assert "Refused: 1 letter, it names no queue of ours." in _text(checked)
    assert kept(database, numbered(1)).state == "open"

    begun = walt.post("/console/letters/begin", _shown_form(checked) | {"why": "mended"}, page="/console/letters")

    def ended() -> bool:
        worker.look()
        with database.begin() as tx:
            return not operation_queries.running(tx)

    wait_for(ended, "the end of the replay", timeout=60)
    operation = _ended(database, begun)
    assert (operation.done, operation.refused, operation.begun_by, operation.why) == (120, 1, "walt", "mended")
    shown = _text(walt.get(begun.headers["location"]))
    assert "121 of 121 letters decided" in shown
    assert "by walt, on a page" in shown
    assert "Refused 1: it names no queue of ours" in shown
    assert "done 120, refused 1, came back 0, overtaken 0 lines" in _text(walt.get("/console/operations"))
    assert "120 dead letters" in _text(walt.get(f"/console/letters?state=all&operation={operation.id}"))


@pytest.mark.usefixtures("runner")
def test_only_what_the_dry_run_has_shown_is_acted_on(database: Database, walt: Visitor) -> None:
    """Letters that arrive after the dry run stay; if one of those shown is gone since, the new numbers are shown."""
    form = {"kind": "discard", "everything": "yes", "f_state": "open", "f_since": "2h"}
    add(database, numbered(1), numbered(2))
    first = _shown_form(walt.post("/console/letters/check", form, page="/console/letters"))
    assert (first["count"], first["f_since"][:2]) == ("2", "20")
    add(database, numbered(3))
    with database.begin() as tx:
        replays.discard(tx, [numbered(1).id], by="bob", why="of a test")
    refused = walt.post("/console/letters/begin", first | {"why": "x"}, page="/console/letters")
    assert (refused.status_code, kept(database, numbered(2)).state) == (409, "open")
    assert "Other letters match now" in _text(refused)
    second = _shown_form(refused)
    assert second["count"] == "2"

    add(database, numbered(4))
    begun = walt.post("/console/letters/begin", second | {"why": "x"}, page="/console/letters")
    assert _ended(database, begun).total == 2
    assert [kept(database, numbered(number)).state for number in (2, 3, 4)] == ["discarded", "discarded", "open"]
    unseen = walt.post("/console/letters/begin", form | {"why": "x"}, page="/console/letters")
    assert (unseen.status_code, kept(database, numbered(4)).state) == (409, "open")


@pytest.mark.usefixtures("runner")
def test_a_selection_is_discarded_and_restored(database: Database, walt: Visitor) -> None:
    """A discard needs a reason; what it discarded is restored as a whole from its page."""
    add(database, *(numbered(number) for number in range(1, 5)))
    chosen = {"kind": "discard", "id": [numbered(1).id, numbered(2).id]}
    refused = walt.post("/console/letters/begin", chosen, page="/console/letters")
    assert (refused.status_code, kept(database, numbered(1)).state) == (422, "open")
    assert "Say why" in _text(refused)
    begun = walt.post("/console/letters/begin", chosen | {"why": "of a test"}, page="/console/letters")
    discarded = _ended(database, begun)
    assert (discarded.done, kept(database, numbered(3)).state) == (2, "open")
    assert "Restore these" in _text(walt.get(begun.headers["location"]))
    again = {"kind": "restore", "everything": "yes", "f_state": "discarded", "f_operation": discarded.id}
    again = _shown_form(walt.post("/console/letters/check", again, page="/console/letters"))
    assert _ended(database, walt.post("/console/letters/begin", again, page="/console/letters")).done == 2
    what = [(entry["what"], entry["by"], entry.get("why")) for entry in kept(database, numbered(1)).history]
    assert what == [("discarded", "walt", "of a test"), ("restored", "walt", None)]


def test_an_action_that_was_ignored_is_no_success(database: Database, walt: Visitor, runner: OperationRunner) -> None:
    """Somebody else was faster: the page says refused and why, not done."""
    add(database, numbered(1))
    with database.begin() as tx:
        replays.discard(tx, [numbered(1).id], by="bob", why="of a test")
    begun = walt.post("/console/letters/begin", {"kind": "replay", "id": numbered(1).id}, page="/console/letters")
    ended = _ended(database, begun)
    assert (ended.done, ended.refused) == (0, 1)
    assert "Refused 1: it is not open, but discarded" in _text(walt.get(begun.headers["location"]))


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "replay"},
        {"kind": "delete", "id": "x"},
        {"kind": "replay", "everything": "yes", "f_since": "yesterday"},
    ],
)
def test_what_does_not_say_which_letters_does_nothing(database: Database, walt: Visitor, form: dict[str, str]) -> None:
    """A form without a choice, or with a filter that cannot be read, is refused: it might mean too many."""
    add(database, numbered(1))
    for path in ("check", "begin"):
        assert walt.post(f"/console/letters/{path}", form, page="/console/letters").status_code == 400
    with database.begin() as tx:
        assert operation_queries.newest(tx, 1) == []


def test_one_letter_shows_all_of_it(settings: Settings, database: Database, rita: Visitor) -> None:
    """Error, headers, body with exact numbers, history and neighbours are there; nothing of it becomes markup."""
    body = b'{"quantity":0.10,"big":12345678901234567890,"note":"<script>alert(1)</script>"}'
    add(database, numbered(1), numbered(2, body=body, error="<b>bold</b>"), numbered(3))
    page = rita.get(f"/console/letters/one?id={numbered(2).id}")
    shown = _text(page)
    for text in ('"quantity": 0.10', '"big": 12345678901234567890', "<b>bold</b>", "header price", "message_id"):
        assert text in shown
    assert "<script>alert" not in page.text
    neighbours = re.findall(r'rel="(prev|next)" href="/console/letters/one\?id=([0-9a-f-]+)', page.text)
    assert sorted(neighbours) == [("next", numbered(1).id), ("prev", numbered(3).id)]
    assert "Replay…" not in shown


def test_a_large_body_is_cut_and_nothing_breaks(database: Database, rita: Visitor) -> None:
    """A body of megabytes makes no page of megabytes; what no database holds is no error."""
    add(database, numbered(1, body=b'{"a":"' + b"x" * 3_000_000 + b'","b":1}'), numbered(2, body=b"line\n" * 100_000))
    for number in (1, 2):
        page = rita.get(f"/console/letters/one?id={numbered(number).id}")
        assert "This is not all of it" in _text(page)
        assert len(page.content) < 400_000
    assert rita.get("/console/letters?text=%00&partner=%00").status_code == 200
    assert rita.get("/console/letters/one?id=%00").status_code == 404


def test_a_key_in_a_body_is_never_sent(settings: Settings, database: Database, walt: Visitor) -> None:
    """A connection's dead letter is masked on every page, and cannot be corrected."""
    assert settings.seal_keys is not None
    key = KeyRing.parse(settings.seal_keys.get_secret_value()).seal_key
    body = b'{"type":"connection.changed.v1","private_key":"s3cret-of-the-partner"}'
    add(database, numbered(1, body=seal_bytes(body, key), sealed_with=key.key_id))
    pages = [
        f"/console/letters/one?id={numbered(1).id}",
        "/console/letters",
        f"/console/letters/correct?id={numbered(1).id}",
    ]
    answers = [walt.get(page) for page in pages]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert '"private_key": "•••"' in _text(answers[0])
    assert not any("s3cret" in answer.text for answer in answers)


@pytest.mark.usefixtures("runner")
def test_a_letter_is_corrected_and_replayed(database: Database, walt: Visitor) -> None:
    """A refusal by the contract is told beside the text that was typed; what it takes leaves, and both bodies stay."""
    add(database, WRONG_LETTER)
    form = {"id": WRONG_LETTER.id, "seen": _seen(WRONG_LETTER), "body": "{", "why": "the id was a number"}
    page = f"/console/letters/correct?id={WRONG_LETTER.id}"
    assert "invalid: push_id" in _text(walt.get(page))
    refused = walt.post("/console/letters/correct", form, page=page)
    assert (refused.status_code, kept(database, WRONG_LETTER).history) == (422, [])
    assert "Nothing was sent. not_json" in _text(refused)
    begun = walt.post("/console/letters/correct", form | {"body": RIGHT.decode()}, page=page)
    wait_for(lambda: kept(database, WRONG_LETTER).state == "replayed", "the replay")
    with database.begin() as tx:
        (sent,) = tx.execute(select(schema.outbox.c.body)).scalars()
    assert sent == RIGHT
    shown = _text(walt.get(f"/console/letters/one?id={WRONG_LETTER.id}"))
    assert "Body before it was corrected" in shown
    assert "the id was a number" in shown
    assert begun.status_code == 303


def test_a_letter_that_another_operator_has_corrected_is_looked_at_first(database: Database, walt: Visitor) -> None:
    """Of two operators who correct a letter at once, the second reads what the first has made of it."""
    add(database, WRONG_LETTER)
    page = f"/console/letters/correct?id={WRONG_LETTER.id}"
    assert f'name="seen" value="{_seen(WRONG_LETTER)}"' in walt.get(page).text
    letter = kept(database, WRONG_LETTER)
    with database.begin() as tx:
        corrections.correct(tx, letter, RIGHT, by="rita", why="first")
    form = {"id": WRONG_LETTER.id, "seen": _seen(WRONG_LETTER), "body": RIGHT.decode() + " ", "why": "second"}
    answer = walt.post("/console/letters/correct", form, page="/console/letters")
    assert (answer.status_code, kept(database, WRONG_LETTER).body) == (409, RIGHT)
    assert "Somebody has corrected it meanwhile" in _text(answer)


def test_partners_are_paused_and_resumed_with_a_reason(database: Database, walt: Visitor) -> None:
    """A pause names who and why on every page that concerns the partner; its end is kept too, and done once."""
    _partner(database, "p1")
    pause = {"partner": "p1", "why": "they asked for it"}
    assert walt.post("/console/partners/pause", {"partner": "p1"}, page="/console/partners").status_code == 422
    assert walt.post("/console/partners/pause", pause, page="/console/partners").status_code == 303
    for page in ("now", "partners", "partners/one?partner=p1"):
        assert "Paused by walt" in _text(walt.get(f"/console/{page}"))
    assert walt.post("/console/partners/resume", {"partner": "p1"}, page="/console/partners").status_code == 303
    again = walt.post("/console/partners/resume", {"partner": "p1"}, page="/console/partners")
    assert (again.status_code, "It was not paused" in _text(again)) == (409, True)
    with database.begin() as tx:
        newest = operation_queries.newest(tx, 5, partner_id="p1")
        assert pauses.all_pauses(tx) == []
    assert [(one.kind, one.state) for one in newest] == [("resume", "stopped"), ("resume", "ended"), ("pause", "ended")]
    unknown = walt.post("/console/partners/pause", {"partner": "p9", "why": "x"}, page="/console/partners")
    assert unknown.status_code == 404


def test_all_partners_are_paused(database: Database, walt: Visitor) -> None:
    """Everybody can be paused at once, which every visitor of the console sees."""
    form = {"everybody": "yes", "why": "ConnectWise has an incident"}
    assert walt.post("/console/partners/pause", form, page="/console/partners").status_code == 303
    assert "All partners are paused by walt" in _text(walt.get("/console/now"))
    assert walt.post("/console/partners/resume", {"everybody": "yes"}, page="/console/partners").status_code == 303
    assert "All partners are paused" not in _text(walt.get("/console/now"))


def test_troubles_are_named(database: Database, rita: Visitor) -> None:
    """Refused credentials, a refused clientId, an unreachable or slow ConnectWise: each partner shows its own."""
    _partner(database, "p-quiet")
    with database.begin() as tx:
        check = {"status": "failed", "problem": {"code": "bad_credentials", "title": "ConnectWise refuses the keys"}}
        row = {"partner_id": "p-keys", "changed_at": db_now(), "message_id": "m", "disconnected": False, "tenant": "t"}
        tx.execute(insert(schema.connections).values({**row, "check_json": json.dumps(check)}))
        for name, why in (("p-client", "client_id"), ("p-away", "unreachable")):
            tx.execute(insert(schema.leases).values(partner_id=name, paused_until=db_now(60), paused_why=why))
        away = update(schema.leases).where(schema.leases.c.partner_id == "p-away")
        tx.execute(away.values(unreachable_count=3, unreachable_since=db_now(-600)))
    shown = _text(rita.get("/console/partners"))
    for partner, trouble in (
        ("p-keys", "ConnectWise refuses the keys"),
        ("p-client", "clientId refused"),
        ("p-away", "Unreachable"),
    ):
        assert re.search(rf"{partner} {trouble}", shown)
    assert "p-quiet" not in shown
    assert "p-quiet" in _text(rita.get("/console/partners?show=all&text=QUIET"))


def test_a_running_action_is_stopped_and_goes_on(database: Database, walt: Visitor) -> None:
    """Nobody carries it out yet, so it stops when somebody does; then it can go on. Others' pages show who did it."""
    add(database, numbered(1))
    begun = walt.post("/console/letters/begin", {"kind": "replay", "id": numbered(1).id}, page="/console/letters")
    where = begun.headers["location"]
    operation_id = where.partition("id=")[2]
    assert walt.post("/console/operations/stop", {"id": operation_id}, page=where).status_code == 303
    assert "Stopping" in _text(walt.get(where))
    assert walt.post("/console/operations/continue", {"id": operation_id}, page=where).status_code == 409
    part = walt.get(where, headers={"hx-request": "true"})
    assert "<html" not in part.text
    assert "Stopped" in part.text
    assert walt.get("/console/operations/one?id=unknown").status_code == 404


def test_a_reader_sees_no_way_to_act(database: Database, rita: Visitor) -> None:
    """A viewer is shown no button that would be refused."""
    _partner(database, "p1")
    add(database, numbered(1, partner_id="p1"))
    for page in (
        "letters",
        "letters/groups",
        f"letters/one?id={numbered(1).id}",
        "partners",
        "partners/one?partner=p1",
    ):
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', rita.get(f"/console/{page}").text)
        assert set(forms) <= {"/logout"}


def test_who_is_no_operator_sees_nothing_of_the_console(site: Site) -> None:
    """A coordinator of one partner reads nothing of others."""
    ana = Visitor(site)
    ana.sign_in("ana")
    assert ana.get("/console/letters").status_code == 403


def test_a_push_is_cancelled_by_an_event(database: Database, walt: Visitor) -> None:
    """The console asks for the end of a push as the platform does; it is kept who asked, and only once it is over."""
    pushed = push("push-1")
    accept(database, pushed)
    _partner(database, pushed.partner_id)
    page = f"/console/partners/one?partner={pushed.partner_id}"
    assert "push-1" in _text(walt.get(page))
    form = {"partner": pushed.partner_id, "push": "push-1", "why": "sent by mistake"}
    assert walt.post("/console/pushes/cancel", form, page=page).status_code == 303
    with database.begin() as tx:
        (body,) = tx.execute(
            select(schema.outbox.c.body).where(schema.outbox.c.routing_key == "push.cancel_requested.v1")
        ).scalars()
        (noted,) = operation_queries.newest(tx, 1)
    asked = json.loads(body)
    assert (asked["push_id"], asked["requested_by"]) == ("push-1", "walt")
    assert (noted.kind, noted.why, noted.chosen) == ("cancel", "sent by mistake", {"push_id": "push-1"})
    assert "push push-1 of partner" in _text(walt.get("/console/operations"))
    unknown = walt.post("/console/pushes/cancel", form | {"push": "push-2"}, page=page)
    assert unknown.status_code == 409

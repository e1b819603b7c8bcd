"""Sessions: they begin by the right password only, are kept over restarts, and end everywhere at once."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import anyio
import pytest
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import StreamingResponse

from store import Database, web_sessions
from tests.support.visitors import PASSWORD, Visitor, users_file
from worker.coordination.sending import Sender
from worker.settings import Settings
from worker.web import live, users
from worker.web.guard import user_of
from worker.web.headers import POLICY
from worker.web.site import Site
from worker.web.table import PAGES
from worker.web.users import Users
from worker.web.visit import Visit

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])


def _is_in(visitor: Visitor) -> bool:
    return visitor.get("/login").status_code == 303


def test_a_session_outlives_the_pages_and_ends_everywhere(site: Site, settings: Settings, database: Database) -> None:
    """A restart of the pages signs nobody out; signing out on one device does so on all."""
    desk, phone = Visitor(site), Visitor(site)
    desk.sign_in("walt")
    phone.sign_in("walt")
    again = Visitor(Site(settings, database, Sender(settings, database), site.users))
    again.client.cookies = phone.client.cookies
    assert _is_in(desk)
    assert _is_in(again)
    assert desk.post("/logout", page="/").status_code == 303
    assert not _is_in(desk)
    assert not _is_in(phone)
    assert not _is_in(again)


@on_sqlite
def test_a_page_that_follows_something_hears_nothing_after_signing_out(site: Site, database: Database) -> None:
    """The next change after a session has ended is not told: the stream ends."""
    visitor = Visitor(site)
    visitor.sign_in("walt")
    token = visitor.client.cookies["phin"]
    visit = Visit(site, Request({"type": "http"}), user_of(site, token), token, FormData())
    counted = count()

    async def follow() -> list[str]:
        answer = live.stream(visit, lambda _tx: (next(counted), False))
        assert isinstance(answer, StreamingResponse)
        events = aiter(answer.body_iterator)
        heard = [str(await anext(events)) for _ in range(2)]
        with database.begin() as tx:
            web_sessions.end_all(tx, "walt")
        return [*heard, *[str(one) async for one in events]]

    # In a thread of its own: the browser of other tests has an event loop in this one.
    with ThreadPoolExecutor() as threads:
        heard = threads.submit(anyio.run, follow).result()
    assert [re.findall(r"[a-z]+: \w+", one)[0] for one in heard] == ["retry: 1000", "event: change", "event: end"]


@on_sqlite
def test_a_session_has_a_token_of_its_own(site: Site) -> None:
    """Somebody who has planted a cookie in a browser does not share the session that is begun with it."""
    visitor = Visitor(site)
    visitor.get("/login")
    before = visitor.client.cookies["phin"]
    visitor.sign_in("walt")
    assert visitor.client.cookies["phin"] != before


@on_sqlite
def test_a_new_password_or_a_removal_ends_sessions(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Whoever is removed, or whose password was changed, is out at the next request."""
    file = users_file(tmp_path, add={"rita": (("reader",), None), "walt": (("writer",), None)})
    site = Site(settings, database, Sender(settings, database), Users(file))
    rita, walt = Visitor(site), Visitor(site)
    rita.sign_in("rita")
    walt.sign_in("walt")
    users.put(file, "rita", ("reader",), None, f"another {PASSWORD}")
    assert users.remove(file, "walt")
    assert not _is_in(rita)
    assert not _is_in(walt)


@on_sqlite
def test_guessing_is_slowed_down(site: Site) -> None:
    """After five failures a name waits, also with the right password; the page says for how long."""
    visitor = Visitor(site)
    answers = [visitor.sign_in("walt", "wrong password").status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    refused = visitor.sign_in("walt")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


@on_sqlite
def test_unknown_names_read_like_wrong_passwords(site: Site) -> None:
    """Nobody learns from the answer which names there are."""
    visitor = Visitor(site)
    unknown, wrong = visitor.sign_in("nobody", "wrong password"), visitor.sign_in("walt", "wrong password")
    assert unknown.status_code == wrong.status_code == 401
    assert unknown.text.replace("nobody", "walt") == wrong.text


@on_sqlite
@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_signing_in_leads_to_a_page_of_ours(site: Site, target: str) -> None:
    """A link to the login cannot lead on to another site."""
    visitor = Visitor(site)
    answer = visitor.post("/login", {"name": "walt", "password": PASSWORD, "next": target})
    assert answer.headers["location"] == "/"


@on_sqlite
def test_every_answer_has_the_headers(site: Site) -> None:
    """Pages, files and errors say what a browser may load, and that nothing is kept."""
    visitor = Visitor(site)
    for path in [page.path for page in PAGES if page.method == "GET"] + ["/nothing"]:
        headers = visitor.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@on_sqlite
def test_behind_tls_the_cookie_is_for_tls_only(settings: Settings, database: Database, site: Site) -> None:
    """With an https address the cookie never travels in the clear, and no subdomain can set it."""
    secure = Site(settings, database, Sender(settings, database), site.users, "https://billing.example")
    cookie = Visitor(secure).get("/login").headers["set-cookie"]
    assert cookie.startswith("__Host-phin=")
    assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))


def test_the_file_has_no_password(tmp_path: Path) -> None:
    """Only hashes are kept, in a file that others cannot read."""
    file = users_file(tmp_path, add={"walt": (("writer",), None)})
    assert PASSWORD not in file.read_text()
    assert json.loads(file.read_text())["users"][0]["password"].startswith("$argon2id$")
    assert file.stat().st_mode & 0o077 == 0

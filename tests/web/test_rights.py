"""The pages and who may open them: the table of rights is the application's own, and this asks for all of it."""

import httpx2
import pytest

from tests.support.visitors import Visitor
from worker.web.pages import Page
from worker.web.rights import Right
from worker.web.site import Site
from worker.web.table import PAGES

USERS = {
    None: {Right.PUBLIC},
    "ana": {Right.PUBLIC, Right.SIGNED_IN, Right.COORDINATE},
    "rita": {Right.PUBLIC, Right.SIGNED_IN, Right.READ},
    "walt": {Right.PUBLIC, Right.SIGNED_IN, Right.READ, Right.WRITE},
}
FORM = "/portal/connect?partner=msp-1"
REFUSED = {303, 401, 403}

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.mark.parametrize("name", USERS)
def test_every_page_asks_for_its_right(site: Site, name: str | None) -> None:
    """No page shows or does anything for a user without its right, or for nobody."""
    visitor = Visitor(site)
    if name is not None:
        assert visitor.sign_in(name).status_code == 303
    for page in PAGES:
        if page.right in USERS[name]:
            continue
        answer = _ask(visitor, page)
        assert answer.status_code in REFUSED, (page.method, page.path, answer.status_code)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/login"), page.path


@pytest.mark.parametrize("name", ["ana", "walt"])
def test_every_form_needs_its_token(site: Site, name: str) -> None:
    """A form without the token of this session changes nothing, whatever the user may."""
    visitor = Visitor(site)
    visitor.sign_in(name)
    other = Visitor(site)
    other.sign_in(name)
    for page in PAGES:
        if page.method == "POST" and page.right in USERS[name]:
            for token in ("", "0" * 64, other.form_token("/")):
                answer = visitor.client.post(page.path, data={"form_token": token})
                assert answer.status_code == 403, page.path


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_forms_of_other_sites_are_refused(local_site: Site, headers: dict[str, str]) -> None:
    """A page of another site has a browser send nothing in the user's name, also with the right token."""
    visitor = Visitor(local_site)
    for page in PAGES:
        if page.method == "POST":
            assert visitor.post(page.path, page=FORM, headers=headers).status_code == 403, page.path


def test_a_page_of_another_name_is_refused(local_site: Site) -> None:
    """A page of others, whose name was led to this machine's address, reads nothing."""
    visitor = Visitor(local_site)
    for page in PAGES:
        answer = visitor.client.request(page.method, page.path, headers={"host": "evil.example"})
        assert answer.status_code == 421, page.path


def test_a_coordinator_sees_the_own_partner_only(site: Site) -> None:
    """The partner is the user's, whatever the address says."""
    visitor = Visitor(site)
    visitor.sign_in("ana")
    for page in PAGES:
        if page.right is Right.COORDINATE and page.method == "GET":
            answer = visitor.get(page.path, params={"partner": "msp-2"})
            assert answer.status_code == 403, page.path


def _ask(visitor: Visitor, page: Page) -> httpx2.Response:
    if page.method == "GET":
        return visitor.get(page.path)
    return visitor.post(page.path, page="/")

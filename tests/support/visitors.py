"""Visitors of the pages without a browser: they keep cookies, and send the forms that they have seen."""

import re
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from worker.web import users
from worker.web.application import application
from worker.web.rights import Role
from worker.web.site import Site

PASSWORD = "correct horse battery staple"
ORIGIN = "http://127.0.0.1"

_FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


class Visitor:
    """A visitor of a site, who is nobody until `sign_in`."""

    def __init__(self, site: Site) -> None:
        self.client = TestClient(application(site), base_url=site.origin or ORIGIN, follow_redirects=False)
        self.client.headers["origin"] = site.origin or ORIGIN

    def get(self, path: str, **more: Any) -> httpx2.Response:
        """Open a page."""
        return self.client.get(path, **more)

    def post(
        self, path: str, data: dict[str, Any] | None = None, *, page: str = "/login", **more: Any
    ) -> httpx2.Response:
        """Send a form that `page` has shown."""
        token = self.form_token(page)
        return self.client.post(path, data={"form_token": token, **(data or {})}, **more)

    def form_token(self, page: str = "/login") -> str:
        """The token that the forms of a page carry; empty if it has none."""
        found = _FORM_TOKEN.search(self.client.get(page, follow_redirects=True).text)
        return found[1] if found else ""

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx2.Response:
        """Sign in by the form."""
        return self.post("/login", {"name": name, "password": password})


def users_file(folder: Path, *, add: dict[str, tuple[tuple[Role, ...], str | None]]) -> Path:
    """A file of users with these roles and partners, all with PASSWORD."""
    file = folder / "users.json"
    for name, (roles, partner) in add.items():
        users.put(file, name, roles, partner, PASSWORD)
    return file

"""Finding the base URL, against a site on loopback."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from cwclient import (
    AddressPolicy,
    InvalidSite,
    NotConnectWise,
    ServerTrouble,
    UnknownCompany,
    Unreachable,
    WrongRoute,
    discover,
)
from cwclient.transport import Transport


class Site(ThreadingHTTPServer):
    """Gives the queued replies, one per request, and keeps the paths and headers that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.replies: list[tuple[int, bytes]] = []
        self.seen: list[tuple[str, dict[str, str]]] = []

    def reply(self, body: object, status: int = 200) -> None:
        """Queue a reply; what is not bytes is sent as JSON."""
        self.replies.append((status, body if isinstance(body, bytes) else json.dumps(body).encode()))


class Handler(BaseHTTPRequestHandler):
    """Answers for Site."""

    server: Site

    def do_GET(self) -> None:
        """Give the next reply."""
        self.server.seen.append((self.path, dict(self.headers.items())))
        status, body = self.server.replies.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[Site]:
    """Run a site."""
    with Site() as site:
        Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield site
        site.shutdown()


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Make a transport that may speak to loopback."""
    transport = Transport(AddressPolicy(["127.0.0.1"]))
    yield transport
    transport.close()


INFO: dict[str, Any] = {
    "CompanyName": "Acme MSP", "Codebase": "v2025_1/", "VersionCode": "v2025.1", "VersionNumber": "v4.6.1",
    "CompanyID": "acme", "IsCloud": "False",
}  # fmt: skip


def test_an_on_premise_base_url_stays_on_its_host(server: Site, transport: Transport) -> None:
    """On-premise, the API is on the host that was entered, whatever path was pasted with it."""
    server.reply({**INFO, "Codebase": "v4_6_release/", "SiteUrl": "inner.msp.example"})
    base = discover(f"{server.url}/v4_6_release/ConnectWise.aspx?x=1", " acme ", transport)
    assert base.url == f"{server.url}/v4_6_release/apis/3.0"
    assert (base.company_name, base.is_cloud, base.version_code) == ("Acme MSP", False, "v2025.1")
    (path, headers), *_ = server.seen
    assert path == "/login/companyinfo/acme"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("site_url", "origin"),
    [("api-na.myconnectwise.net", "https://api-na.myconnectwise.net"),
     ("https://api-eu.myconnectwise.net/", "https://api-eu.myconnectwise.net"),
     ("aus-api.myconnectwise.net", "https://aus-api.myconnectwise.net"),
     ("api-127.0.0.1", "https://api-127.0.0.1"), ("127.0.0.1", None), ("", None), (None, None)],
)  # fmt: skip
def test_a_cloud_base_url_is_where_the_login_host_says(
    site_url: str | None, origin: str | None, server: Site, transport: Transport
) -> None:
    """On the cloud, the API host comes from SiteUrl, or else is the host itself."""
    server.reply({**INFO, "IsCloud": "True", "SiteUrl": site_url})
    base = discover(server.url, "acme", transport)
    assert base.url == f"{origin or server.url}/v2025_1/apis/3.0"
    assert base.is_cloud


def test_an_unknown_company_is_told_apart(server: Site, transport: Transport) -> None:
    """A coordinator with a wrong Company ID reads that, whichever way the site says it."""
    server.reply(None)
    server.reply({"code": "NotFound", "message": "x"}, 404)
    for _ in range(2):
        with pytest.raises(UnknownCompany, match=r"ACME/\.\./x"):
            discover(server.url, "ACME/../x", transport)
    assert {unquote(path) for path, _ in server.seen} == {"/login/companyinfo/ACME/../x"}
    assert re.search("%2F", server.seen[0][0])
    for company in ("", " ", "..", "."):
        with pytest.raises(UnknownCompany):
            discover(server.url, company, transport)
    with pytest.raises(InvalidSite):
        discover("ftp://x", "acme", transport)
    assert len(server.seen) == 2


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{}", b"{", b"<html></html>", b'{"Codebase": 5}'])
def test_a_site_that_is_not_connectwise_is_not_taken_for_one(body: bytes, server: Site, transport: Transport) -> None:
    """A host that answers something else gives a plain error."""
    server.reply(body)
    with pytest.raises(NotConnectWise, match="not as ConnectWise does"):
        discover(server.url, "acme", transport)


@pytest.mark.parametrize("body", [b"<html>not found</html>", b"404 page not found", b"", b'{"detail": "Not Found"}'])
def test_a_404_of_something_else_is_not_an_unknown_company(body: bytes, server: Site, transport: Transport) -> None:
    """A coordinator with a wrong URL is not sent to look for another Company ID."""
    server.reply(body, 404)
    with pytest.raises(WrongRoute, match="not as ConnectWise does"):
        discover(server.url, "acme", transport)


def test_a_server_that_fails_is_not_a_wrong_url(server: Site, transport: Transport) -> None:
    """A ConnectWise in trouble is waited for, and nobody is sent to look for another URL."""
    server.reply({"code": "ConnectWiseApi", "message": "A timeout has occured."}, 500)
    with pytest.raises(ServerTrouble):
        discover(server.url, "acme", transport)
    server.reply(b"<html>try again</html>", 503)
    with pytest.raises(Unreachable) as caught:
        discover(server.url, "acme", transport)
    assert type(caught.value) is Unreachable

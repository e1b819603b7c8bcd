"""Nothing diverts a call or its keys: neither address, redirect, cookie nor environment."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cwclient import AddressPolicy, ForbiddenHost
from cwclient.transport import Transport

METADATA = "http://169.254.169.254/latest/"


class Server(ThreadingHTTPServer):
    """Redirects every request to the metadata address, with a cookie, and keeps the headers that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.seen: list[set[str]] = []


class Handler(BaseHTTPRequestHandler):
    """Answers for Server."""

    server: Server

    def do_GET(self) -> None:
        """Redirect."""
        self.server.seen.append({name.lower() for name in self.headers})
        self.send_response(302)
        self.send_header("Location", METADATA)
        self.send_header("Set-Cookie", "tenant=1; Path=/")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server."""
    with Server() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Make a transport that may speak to loopback."""
    transport = Transport(AddressPolicy(["127.0.0.1"]))
    yield transport
    transport.close()


def test_forbidden_hosts_are_not_even_connected_to(server: Server) -> None:
    """A forbidden server never sees a packet of ours."""
    transport = Transport(AddressPolicy())
    with pytest.raises(ForbiddenHost):
        transport.request("GET", server.url, headers={})
    assert not server.seen


def test_redirects_are_not_followed_nor_cookies_kept(server: Server, transport: Transport) -> None:
    """Keys never follow a redirect, and nothing that one tenant's server sets reaches another call."""
    for _ in range(2):
        response = transport.request("GET", server.url, headers={})
        assert (response.status, response.headers["location"]) == (302, METADATA)
    assert [seen & {"cookie", "authorization"} for seen in server.seen] == [set(), set()]


def test_the_environment_changes_nothing(
    server: Server, transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxy and netrc variables of a container do not divert keys, nor add any."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert transport.request("GET", server.url, headers={}).status == 302
    assert server.seen == [{"host", "user-agent", "accept-encoding"}]

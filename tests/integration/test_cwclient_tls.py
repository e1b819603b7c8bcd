"""The transport over TLS, against servers on loopback."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cwclient import (
    AddressPolicy,
    CaBundleUnreadable,
    CallBudget,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateUntrusted,
    ForbiddenHost,
    Unreachable,
)
from cwclient.transport import Transport
from tests.support.tls import certificate, issue, served
from tests.support.waiting import within

LOOPBACK = AddressPolicy(["127.0.0.0/8"])


class Handler(BaseHTTPRequestHandler):
    """Answers with the Host header; on /drip a byte every 20 ms, for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a read."""
        host = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", "9000" if self.path == "/drip" else str(len(host)))
        self.end_headers()
        if self.path != "/drip":
            self.wfile.write(host)
            return
        pause = threading.Event()
        with suppress(OSError):
            while not pause.wait(0.02):
                self.wfile.write(b"x")
        self.close_connection = True

    def do_PATCH(self) -> None:
        """Answer a write."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


class Server(ThreadingHTTPServer):
    """An https server that counts connections; a client that refuses its certificate does not trouble it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._context = context
        self.names: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    def get_request(self) -> tuple[ssl.SSLSocket, tuple[str, int]]:
        """Accept a connection."""
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True), address


@pytest.fixture
def start() -> Iterator[Callable[[ssl.SSLContext], Server]]:
    """Run a server with a TLS context."""
    with ExitStack() as stack:

        def make(context: ssl.SSLContext) -> Server:
            server = stack.enter_context(Server(context))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
            return server

        yield make


@pytest.fixture
def connect() -> Iterator[Callable[..., Transport]]:
    """Make a transport that may speak to loopback."""
    with ExitStack() as stack:

        def make(
            ca_bundle: str | None = None, budget: CallBudget | None = None, policy: AddressPolicy = LOOPBACK
        ) -> Transport:
            return stack.enter_context(closing(Transport(policy, budget, ca_bundle)))

        yield make


def test_an_unknown_certificate_is_refused_unless_its_bundle_is_given(
    start: Callable[[ssl.SSLContext], Server], connect: Callable[..., Transport], tmp_path: Path
) -> None:
    """An on-premise server with its own CA works with the partner's CA bundle, and not without."""
    context, pem = certificate(tmp_path, "127.0.0.1")
    server = start(context)
    url = f"https://127.0.0.1:{server.server_port}/"
    with pytest.raises(CertificateUntrusted, match="not trusted"):
        connect().request("GET", url, headers={})
    transport = connect(pem)
    assert [transport.request("PATCH", url, headers={}, json=[]).status for _ in range(3)] == [200] * 3
    assert len(server.names) == 2
    with pytest.raises(CaBundleUnreadable, match="PEM"):
        connect("nonsense")


@pytest.mark.parametrize("is_sent", [True, False], ids=["the server sends the chain", "the server sends itself alone"])
def test_the_authority_that_issued_the_certificate_is_enough(
    start: Callable[[ssl.SSLContext], Server], connect: Callable[..., Transport], tmp_path: Path, *, is_sent: bool
) -> None:
    """An operator who has only the intermediate authority's file need not look for its root; names count as ever."""
    root = issue("root")
    between = issue("between", by=root)
    leaf = issue("leaf", "127.0.0.1", by=between, is_authority=False)
    server = start(served(tmp_path, leaf, *([between] if is_sent else [])))
    url = f"https://127.0.0.1:{server.server_port}/"
    assert connect(between.pem).request("GET", url, headers={}).status == 200
    with pytest.raises(CertificateUntrusted):
        connect(issue("another", by=root).pem).request("GET", url, headers={})
    policy = AddressPolicy(["127.0.0.0/8"], resolver=lambda _: ["127.0.0.1"])
    elsewhere = f"https://cw.msp.example:{server.server_port}/"
    with pytest.raises(CertificateNameMismatch):
        connect(between.pem, policy=policy).request("GET", elsewhere, headers={})


def test_the_checked_address_is_used_and_the_name_is_verified(
    start: Callable[[ssl.SSLContext], Server], connect: Callable[..., Transport], tmp_path: Path
) -> None:
    """A name is resolved once per connection, so it cannot point elsewhere after the check; its certificate counts."""
    context, pem = certificate(tmp_path, "cw.msp.example")
    server = start(context)
    good, bad = (f"{name}.msp.example:{server.server_port}" for name in ("cw", "other"))
    answers_of_dns = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
    policy = AddressPolicy(["127.0.0.0/8"], resolver=lambda _: next(answers_of_dns))
    transport = connect(pem, policy=policy)
    for _ in range(2):
        assert transport.request("GET", f"https://{good}/", headers={}).body == good.encode()
    assert server.names == ["cw.msp.example"]
    with pytest.raises(ForbiddenHost):
        transport.request("GET", f"https://{bad}/", headers={})
    with pytest.raises(CertificateNameMismatch, match=r"other\.msp\.example"):
        transport.request("GET", f"https://{bad}/", headers={})


def test_an_expired_certificate_and_a_wrong_address_are_told_apart(
    start: Callable[[ssl.SSLContext], Server], connect: Callable[..., Transport], tmp_path: Path
) -> None:
    """An administrator reads whether to renew a certificate or to have one issued for another name."""
    context, pem = certificate(tmp_path, "127.0.0.1", days=-1)
    with pytest.raises(CertificateExpired, match="expired"):
        connect(pem).request("GET", f"https://127.0.0.1:{start(context).server_port}/", headers={})
    context, pem = certificate(tmp_path, "127.0.0.2")
    with pytest.raises(CertificateNameMismatch, match=r"127\.0\.0\.1"):
        connect(pem).request("GET", f"https://127.0.0.1:{start(context).server_port}/", headers={})


def test_the_deadline_holds_within_tls_too(
    start: Callable[[ssl.SSLContext], Server], connect: Callable[..., Transport], tmp_path: Path
) -> None:
    """A slow drip inside TLS, and a handshake that never ends, cost no more than the budget."""
    context, pem = certificate(tmp_path, "127.0.0.1")
    transport = connect(pem, CallBudget(connect=5, read=5, total=within(0.5)))
    with pytest.raises(Unreachable, match="in time"):
        transport.request("GET", f"https://127.0.0.1:{start(context).server_port}/drip", headers={})
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(Unreachable, match="secure") as caught:
        transport.request("GET", f"https://127.0.0.1:{mute.getsockname()[1]}/", headers={})
    assert not caught.value.sent

"""Servers that mean harm: each ends in a clear error of the right class, within the call's budget, memory flat."""

import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from cwclient import (
    AddressPolicy,
    CallBudget,
    ConnectWise,
    ConnectWiseError,
    Credentials,
    ForbiddenHost,
    RecordRefused,
    ServerTrouble,
    Unreachable,
    WrongRoute,
    discover,
)
from cwclient.transport import Transport
from tests.support.raw_server import OK, Server, Talk, answers, drips, reply

MB = 1024 * 1024
BUDGET = CallBudget()
Start = Callable[..., Server]
Connect = Callable[..., Transport]


@contextmanager
def _flat(cap: int) -> Iterator[None]:
    """At most the cap on a body, and 4 MB, are held in memory at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < cap + 4 * MB
    finally:
        tracemalloc.stop()


def _client(server: Server, transport: Transport) -> ConnectWise:
    base_url = server.url.removesuffix("/x") + "/v2025_1/apis/3.0"
    return ConnectWise(base_url, Credentials("acme", "pub", "priv"), "our-client-id", transport)


@pytest.mark.parametrize(
    "talk",
    [
        drips(b"HTTP/1.1 200 OK\r\n", b"X"),
        drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        lambda server, connection: (server.read(connection), connection.recv(1)),
    ],
    ids=["header", "headers", "continue", "body", "chunks", "chunk-size", "until-close", "silence"],
)
def test_a_slow_server_costs_no_more_than_the_budget(talk: Talk, start: Start, connect: Connect) -> None:
    """A server that keeps sending a little cannot hold a call for ever, neither on a new nor on a kept connection."""

    def kind_at_first(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        talk(server, connection)

    for server, calls in ((start(talk), 0), (start(kind_at_first), 1)):
        transport = connect()
        for _ in range(calls):
            transport.request("GET", server.url, headers={})
        with pytest.raises(Unreachable, match="in time") as caught:
            transport.request("PATCH", server.url, headers={}, json=[])
        assert caught.value.sent
        assert server.connections == 1


@pytest.mark.parametrize(
    "talk",
    [
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096, 0),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", 0),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 4096, 0),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 4096, 0),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    ],
    ids=["until-close", "chunks", "chunk-size", "length", "continue"],
)
def test_an_endless_answer_is_cut_off(talk: Talk, start: Start, connect: Connect) -> None:
    """A server that never stops sending fills neither memory nor time."""
    with _flat(100_000), pytest.raises(ServerTrouble, match=r"larger than 100000 bytes|broke"):
        connect(CallBudget(max_body=100_000)).request("GET", start(talk).url, headers={})


def _hundred_megabytes(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n[" % (100 * MB))
    for _ in range(100):
        connection.sendall(b"1," * (MB // 2))


def test_a_body_of_100_mb_is_cut_off(start: Start, connect: Connect) -> None:
    """A body that is larger than any page of ConnectWise's is not read to its end."""
    client = _client(start(_hundred_megabytes), connect(BUDGET))
    with _flat(BUDGET.max_body), pytest.raises(ServerTrouble, match="larger than 16777216 bytes"):
        client.company(1)


BOMBS: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b"[" * 5 * MB,
    "deep objects": lambda: b'{"a":' * MB,
    "values": lambda: b"[" + b"[]," * (5 * MB) + b"[]]",
    "keys": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(MB)) + b"}",
    "digits": lambda: b"9" * 5 * MB,
    "words": lambda: b"a " * 5 * MB,
    "blanks": lambda: b" " * 15 * MB,
}


@pytest.fixture(params=BOMBS)
def bomb(request: pytest.FixtureRequest) -> bytes:
    """A body that is small for what JSON makes of it."""
    return BOMBS[request.param]()


def test_json_that_would_unfold_in_memory_is_refused(bomb: bytes, start: Start, connect: Connect) -> None:
    """Nesting, millions of values or of words cost no more memory than their bytes and two copies as text."""
    client = _client(start(answers(reply(bomb))), connect(BUDGET))
    with _flat(3 * len(bomb)), pytest.raises(ServerTrouble) as caught:
        client.company(1)
    assert caught.value.sent
    assert len(str(caught.value)) <= 500


def test_an_error_of_any_size_has_a_short_text(bomb: bytes, start: Start, connect: Connect) -> None:
    """The error quotes ConnectWise's refusal in a line or two, however much it is."""
    client = _client(start(answers(reply(bomb, 400))), connect(BUDGET))
    with _flat(3 * len(bomb)), pytest.raises(RecordRefused) as caught:
        client.set_quantity(7, 5, 42)
    assert len(str(caught.value)) <= 500


def test_words_of_connectwise_are_one_short_line(start: Start, connect: Connect) -> None:
    """Names and messages reach no log, page or table with control or direction characters, or at any length."""
    nasty = "A\x1b[31m\u202ecme\u0085\n\0" + "x" * 5000
    company = reply(json.dumps({"id": 1, "name": nasty}).encode())
    refusal = reply(json.dumps({"message": nasty, "errors": [{"field": nasty, "message": nasty}]}).encode(), 400)

    def talk(server: Server, connection: socket.socket) -> None:
        for answer in (company, refusal):
            server.read(connection)
            connection.sendall(answer)

    client = _client(start(talk), connect(BUDGET))
    texts = [client.company(1).name]
    with pytest.raises(RecordRefused) as caught:
        client.set_quantity(7, 5, 42)
    [field] = caught.value.errors
    texts += [caught.value.message, field.field, field.message]
    assert {(text[:11], len(text), text.isprintable()) for text in texts} == {("A [31mcme x", 500, True)}


@cache
def _zipped() -> bytes:
    return gzip.compress(bytes(50 * MB))


def _zipped_on_the_way() -> bytes:
    chunk = gzip.compress(bytes(MB))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: reply(_zipped(), Content_Encoding="gzip"),
        lambda: reply(gzip.compress(_zipped()), Content_Encoding="gzip, gzip"),
        lambda: reply(gzip.compress(b" " * (50 * MB)), Content_Encoding="gzip", Transfer_Encoding="identity"),
        lambda: reply(_zipped()),
        _zipped_on_the_way,
    ],
    ids=["encoded", "twice", "and a transfer coding", "undeclared", "transfer"],
)
def test_a_gzip_bomb_is_unfolded_no_further_than_the_limit(
    answer: Callable[[], bytes], start: Start, connect: Connect
) -> None:
    """A small body that would become a huge one is cut off where a huge one is."""
    client = _client(start(answers(answer())), connect(CallBudget(max_body=4 * MB)))
    with _flat(4 * MB), pytest.raises(ServerTrouble):
        client.company(1)


@pytest.mark.parametrize(
    "talk",
    [
        drips(b"HTTP/1.1 200 OK\r\n", b"X: %b\r\n" % (b"y" * 1000), 0),
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536, 0),
        drips(b"HTTP/1.1 200 OK\r\n", b"X", 0),
        drips(b"HTTP/1.1 ", b"2" * 4096, 0),
    ],
    ids=["headers", "value", "name", "status line"],
)
def test_endless_and_huge_headers_are_cut_off(talk: Talk, start: Start, connect: Connect) -> None:
    """A server that never comes to the body fills neither memory nor time."""
    client = _client(start(talk), connect(BUDGET))
    with _flat(MB), pytest.raises(ServerTrouble) as caught:
        client.set_quantity(7, 5, 42)
    assert caught.value.sent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "https://evil.example/", "//[::1]/"])
def test_a_redirect_is_not_followed(status: int, location: str, start: Start, connect: Connect) -> None:
    """A server cannot send our keys to a metadata address, or anywhere, by a redirect."""
    server = start(answers(reply(b"", status, Location=location)))
    with pytest.raises(WrongRoute, match="redirects to"):
        _client(server, connect(BUDGET)).set_quantity(7, 5, 42)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/x", "https://evil.example/x", "//evil.example/x", "http://127.0.0.1:1/x",
     "http://u:p@127.0.0.1:{port}/x", "https://127.0.0.1:{port}/x", "http://[::1", "file:///etc/passwd",
     "http://127.0.0.1:{port}@evil.example/x", "\\\\evil.example\\x", "/../../x", "@evil.example"],
)  # fmt: skip
@pytest.mark.parametrize("query", ["?page=2", "?page=2&to=//evil.example/#@evil.example", ""])
def test_a_next_page_elsewhere_gets_no_credentials(target: str, query: str, start: Start, connect: Connect) -> None:
    """A Link to another place leads nowhere: the next page is asked of the same server under the same path."""
    server = start(lambda server, connection: _serve_page(server, connection, target + query))
    assert [company.id for company in _client(server, connect(BUDGET)).companies()] == [1]
    paths = [request.split(b" ")[1] for request in server.requests]
    assert [path.partition(b"?")[0] for path in paths] == [b"/v2025_1/apis/3.0/company/companies"] * 2
    assert b"page=2" in paths[1]


def _serve_page(server: Server, connection: socket.socket, target: str) -> None:
    port = server.url.rpartition(":")[2].partition("/")[0]
    server.read(connection)
    connection.sendall(reply(b'[{"id": 1}]', Link=f"<{target.replace('{port}', port)}>; rel=next"))
    server.read(connection)
    connection.sendall(reply(b"[]"))


def test_pages_that_repeat_end_the_list(start: Start, connect: Connect) -> None:
    """A server that gives the same page again and again is given up at the second, not after a thousand."""
    server = start(answers(reply(b'[{"id": 1}, {"id": 2}]', Link='<?page=2>; rel="next"')))
    with pytest.raises(ServerTrouble, match="repeats"):
        list(_client(server, connect(BUDGET)).companies())
    assert len(server.requests) == 2


def test_a_list_without_end_ends(start: Start, connect: Connect) -> None:
    """A server that always has another page is given up after a million records' worth of pages."""
    numbers = iter(range(1, 10**6))

    def pages(server: Server, connection: socket.socket) -> None:
        while True:
            server.read(connection)
            connection.sendall(reply(b'[{"id": %d}]' % next(numbers), Link='<?page=2>; rel="next"'))

    with pytest.raises(ServerTrouble, match="did not end"):
        list(_client(start(pages), connect(BUDGET)).companies())


INFO: dict[str, Any] = {"CompanyName": "Acme MSP", "Codebase": "v2025_1/", "VersionCode": "v2025.1", "IsCloud": "True"}


def _discover(start: Start, connect: Connect, **changes: str) -> str:
    server = start(answers(reply(json.dumps(INFO | changes).encode())))
    return discover(server.url.removesuffix("/x"), "acme", connect(BUDGET)).url


@pytest.mark.parametrize(
    "site_url",
    ["evil.example", "169.254.169.254", "127.0.0.2", "10.0.0.1", "[::1]", "localhost", "metadata.google.internal",
     "2130706433", "0x7f000001", "http://api-na.myconnectwise.net", "myconnectwise.net.evil.example",
     "evilmyconnectwise.net", "api-na.myconnectwise.net@evil.example", "https://evil.example/api-na.myconnectwise.net",
     "https://u:p@api-na.myconnectwise.net", "api-na.myconnectwise.net#@evil.example",
     "evil.example?.myconnectwise.net",
     "evil.example\\.myconnectwise.net", "evil.example%2f.myconnectwise.net", "file:///etc/passwd",
     "api-127.0.0.1@evil.example"],
)  # fmt: skip
def test_a_site_url_elsewhere_is_refused(site_url: str, start: Start, connect: Connect) -> None:
    """Keys never go to a host that is neither ConnectWise's nor the one that was entered."""
    with pytest.raises(ForbiddenHost, match="API host"):
        _discover(start, connect, SiteUrl=site_url)


@pytest.mark.parametrize(
    "codebase",
    ["", "/", "v2025_1", "/v2025_1/", "@evil.example/", "../v2025_1/", "v2025_1/../", "v4_6_release//", "v2025_1/\n",
     "v\u0662025_1/", ".evil.example/", ":1@evil.example/", "//evil.example/", "https://evil.example/v2025_1/",
     "v2025_1/?x=", "v2025_1/#", "\\evil.example/", "x" * 100_000],
)  # fmt: skip
def test_a_codebase_elsewhere_is_refused(codebase: str, start: Start, connect: Connect) -> None:
    """A Codebase cannot bend the base URL."""
    with pytest.raises(ServerTrouble, match="codebase"):
        _discover(start, connect, Codebase=codebase)


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.1", "::1", "fd00:ec2::254"])
def test_a_name_of_connectwises_that_leads_into_our_network_is_refused(
    address: str, start: Start, connect: Connect
) -> None:
    """The host of a good SiteUrl is checked like any other when it is connected to."""
    url = _discover(start, connect, SiteUrl="api-na.myconnectwise.net")
    transport = connect(BUDGET, AddressPolicy(resolver=lambda _: [address]))
    with pytest.raises(ForbiddenHost):
        ConnectWise(url, Credentials("acme", "pub", "priv"), "our-client-id", transport).company(1)


def test_every_failure_is_an_error_of_ours() -> None:
    """A caller needs one except clause for all of these."""
    kinds = (ForbiddenHost, RecordRefused, ServerTrouble, Unreachable, WrongRoute)
    assert all(issubclass(kind, ConnectWiseError) for kind in kinds)

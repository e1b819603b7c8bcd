"""The transport against servers on loopback that do what dying and misconfigured servers do."""

import socket
import threading
from collections.abc import Callable

import pytest

from cwclient import AddressPolicy, CallBudget, ServerTrouble, Unreachable
from cwclient.sockets import BudgetSocket
from cwclient.transport import Transport
from tests.support.raw_server import OK, Server, answers
from tests.support.waiting import within

Start = Callable[..., Server]
Connect = Callable[..., Transport]


def test_connections_are_kept_and_used_again(start: Start, connect: Connect) -> None:
    """Hundreds of calls to one server share a few connections."""
    server, transport = start(answers(OK)), connect()
    for _ in range(5):
        response = transport.request("GET", server.url, headers={"X-Test": "1"})
        assert (response.status, response.body, response.json()) == (200, b"{}", {})
    assert server.connections == 1
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


def test_a_request_leaves_in_one_piece(start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body of a write are one packet and one TLS record: neither arrives without the other."""
    pieces: list[bytes] = []
    send = BudgetSocket.sendall

    def noted(self: BudgetSocket, data: bytes, flags: int = 0) -> None:
        pieces.append(bytes(data))
        send(self, data, flags)

    monkeypatch.setattr(BudgetSocket, "sendall", noted)
    server, transport = start(answers(OK)), connect()
    transport.request("PATCH", server.url, headers={}, json=[{"op": "replace"}])
    transport.request("GET", server.url, headers={})
    assert [piece.split()[0] for piece in pieces] == [b"PATCH", b"GET"]
    assert pieces[0].endswith(b'\r\n\r\n[{"op": "replace"}]')


def test_four_threads_share_a_transport(start: Start, connect: Connect) -> None:
    """A tenant's four parallel calls each get their own answer."""
    barrier = threading.Barrier(4, timeout=within(10))

    def echo(server: Server, connection: socket.socket) -> None:
        path = server.read(connection).split()[1]
        barrier.wait()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    server, transport = start(echo), connect(CallBudget())
    got: dict[int, bytes] = {}

    def call(n: int) -> None:
        got[n] = transport.request("GET", f"{server.url}/{n}", headers={}).body

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == {n: f"/x/{n}".encode() for n in range(4)}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"SMTP ready\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000,
    ],
    ids=["nothing", "half", "no-http", "long-header"],
)
def test_a_connection_that_breaks_after_the_request_is_uncertain(reply: bytes, start: Start, connect: Connect) -> None:
    """After a write whose answer is lost or garbled, the worker reads again instead of assuming."""

    def talk(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(reply)

    server = start(talk)
    with pytest.raises(ServerTrouble) as caught:
        connect().request("PATCH", server.url, headers={}, json=[{"op": "replace"}])
    assert caught.value.sent
    assert len(server.requests) == 1


def test_a_closed_connection_is_replaced_before_a_write(start: Start, connect: Connect) -> None:
    """A keep-alive connection that the server has closed meanwhile costs nothing, not even for a write."""
    closed = threading.Event()

    def once(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        connection.close()
        closed.set()

    server, transport = start(once), connect()
    for method in ("GET", "PATCH"):
        closed.clear()
        assert transport.request(method, server.url, headers={}, json=[]).status == 200
        assert closed.wait(within(10))
    assert len(server.requests) == 2


def test_on_a_stale_connection_a_read_is_repeated_and_a_write_is_not(start: Start, connect: Connect) -> None:
    """A server that hangs up on a request it may have seen gets reads again, but never the same write twice."""

    def hang_up_on_the_second(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        server.read(connection)

    server, transport = start(hang_up_on_the_second, answers(OK)), connect()
    assert [transport.request("GET", server.url, headers={}).status for _ in range(2)] == [200, 200]
    assert (server.connections, len(server.requests)) == (2, 3)

    server, transport = start(hang_up_on_the_second, answers(OK)), connect()
    transport.request("GET", server.url, headers={})
    with pytest.raises(ServerTrouble) as caught:
        transport.request("PATCH", server.url, headers={}, json=[])
    assert caught.value.sent
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_write_that_never_arrived_whole_is_made_again(start: Start, connect: Connect) -> None:
    """A server that hangs up in the middle of a write cannot have applied it, so it is not left uncertain."""

    def hang_up_within_the_second(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        connection.recv(1)

    server, transport = start(hang_up_within_the_second, answers(OK)), connect(CallBudget())
    transport.request("GET", server.url, headers={})
    assert transport.request("PATCH", server.url, headers={}, json="x" * 20_000_000).status == 200
    assert [r.split()[0] for r in server.requests] == [b"GET", b"PATCH"]


def test_a_refused_connection_is_unreachable_and_nothing_was_sent(connect: Connect) -> None:
    """A server that is down has certainly not applied a write."""
    with pytest.raises(Unreachable) as caught:
        connect().request("PATCH", "http://127.0.0.1:1/", headers={}, json=[])
    assert not caught.value.sent


def test_a_slow_name_server_costs_no_more_than_the_budget(connect: Connect) -> None:
    """A partner whose name server never answers holds nobody up."""
    release = threading.Event()
    policy = AddressPolicy(resolver=lambda _: ["127.0.0.1"] if release.wait(30) else [])
    try:
        with pytest.raises(Unreachable, match="name server") as caught:
            connect(policy=policy).request("GET", "https://cw.msp.example/", headers={})
    finally:
        release.set()
    assert not caught.value.sent

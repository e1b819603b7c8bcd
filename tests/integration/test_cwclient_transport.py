"""The transport against servers on loopback that do what hostile, dying and misconfigured servers do."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from cwclient import AddressPolicy, CallBudget, ServerTrouble, Transport, Unreachable

SHORT = CallBudget(connect=0.5, read=0.3, total=0.5, max_body=100_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[["Server", socket.socket], object]
Start = Callable[..., "Server"]
Connect = Callable[..., Transport]


class Server:
    """Listens on loopback and gives each connection to the next of its talks, the last one again and again."""

    def __init__(self, *talks: Talk) -> None:
        self._talks = talks
        self._open = [socket.create_server(("127.0.0.1", 0))]
        self.url = f"http://127.0.0.1:{self._open[0].getsockname()[1]}/x"
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._open[0].accept()
                self._open.append(connection)
                talk = self._talks[min(self.connections, len(self._talks) - 1)]
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, talk), daemon=True).start()

    def _serve(self, connection: socket.socket, talk: Talk) -> None:
        with suppress(OSError), connection:
            talk(self, connection)

    def read(self, connection: socket.socket) -> bytes:
        """One request, body included."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        while len(body) < sum(map(int, lengths)):
            body += _some(connection)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        """Hang up on everyone."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server of these talks."""
    with ExitStack() as stack:
        yield lambda *talks: stack.enter_context(closing(Server(*talks)))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make a transport that may speak to loopback."""
    loopback = AddressPolicy(["127.0.0.0/8"])
    with ExitStack() as stack:
        yield lambda budget=SHORT, policy=loopback: stack.enter_context(closing(Transport(policy, budget)))


def answers(reply: bytes) -> Talk:
    """Answer every request on the connection with `reply`."""

    def talk(server: Server, connection: socket.socket) -> None:
        while True:
            server.read(connection)
            connection.sendall(reply)

    return talk


def drips(before: bytes, drop: bytes, every: float = 0.02) -> Talk:
    """Send `before`, then `drop` for ever, with a pause of `every` seconds."""

    def talk(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(before)
        pause = threading.Event()
        while not pause.wait(every):
            connection.sendall(drop)

    return talk


def test_connections_are_kept_and_used_again(start: Start, connect: Connect) -> None:
    """Hundreds of calls to one server share a few connections."""
    server, transport = start(answers(OK)), connect()
    for _ in range(5):
        response = transport.request("GET", server.url, headers={"X-Test": "1"})
        assert (response.status, response.body, response.json()) == (200, b"{}", {})
    assert server.connections == 1
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


def test_four_threads_share_a_transport(start: Start, connect: Connect) -> None:
    """A tenant's four parallel calls each get their own answer."""
    barrier = threading.Barrier(4, timeout=10)

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
    with pytest.raises(ServerTrouble, match=r"larger than 100000 bytes|broke"):
        connect(CallBudget(max_body=100_000)).request("GET", start(talk).url, headers={})


def test_a_compressed_answer_is_refused(start: Start, connect: Connect) -> None:
    """A small body cannot unfold into a huge one, as no compression is accepted."""
    server = start(answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"))
    with pytest.raises(ServerTrouble, match="gzip"):
        connect().request("GET", server.url, headers={})


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
        assert closed.wait(10)
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        connect().request("PATCH", f"http://127.0.0.1:{port}/", headers={}, json=[])
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

"""The proxy that stands for a database's address in tests of outages."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.chaos.proxy import Proxy
from tests.support.own_servers.places import free_port


@contextmanager
def server(says: bytes) -> Iterator[int]:
    """The port of a server that greets whoever connects, and echoes what it is sent."""

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.sendall(says)
            while data := connection.recv(100):
                connection.sendall(data)

    def accept() -> None:
        serve(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def test_connections_stay_where_they_were_opened() -> None:
    """Behind the address stands another server, yet a connection of before is still with the first; all can be cut."""
    with ExitStack() as stack:
        primary, standby = stack.enter_context(server(b"primary")), stack.enter_context(server(b"standby"))
        proxy = stack.enter_context(Proxy(primary))

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 5.0))

        first = connect()
        assert first.recv(7) == b"primary"
        proxy.target = standby
        second = connect()
        assert second.recv(7) == b"standby"
        first.sendall(b"still here")
        assert first.recv(10) == b"still here"
        assert (proxy.open_to(primary), proxy.open_to(standby)) == (1, 1)
        proxy.cut()
        assert (first.recv(1), second.recv(1)) == (b"", b"")


def test_nobody_behind_the_address_is_told_at_once() -> None:
    """A client of a server that is away sees its connection closed, instead of waiting."""
    with Proxy(free_port()) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5.0) as client:
        assert client.recv(1) == b""

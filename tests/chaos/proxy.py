"""A TCP proxy on loopback: an address behind which another server may stand tomorrow."""

import socket
import threading
from contextlib import suppress
from typing import Self

PIECE = 256 * 1024
CONNECT_SECONDS = 5.0


class Proxy:
    """A context manager: whoever connects to `port` gets to the port `target`, and stays there until `cut`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="proxy")
        self._lock = threading.Lock()
        self._open: dict[socket.socket, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing it alone would leave `accept` waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close all connections, as the end of a server does."""
        with self._lock:
            for client in self._open:
                _hang_up(client)

    def open_to(self, target: int) -> int:
        """The number of connections that are open to this port."""
        with self._lock:
            return sum(one == target for one in self._open.values())

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        target = self.target
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", target), CONNECT_SECONDS) as server:
            server.settimeout(None)
            with self._lock:
                self._open[client] = target
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
            with self._lock:
                del self._open[client]


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until one side hangs up; then hang up on both."""
    with suppress(OSError):
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(PIECE):
            sink.sendall(data)
    _hang_up(source)
    _hang_up(sink)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)

"""A server on loopback that says byte for byte what a test wants: what hostile, dying and broken servers say."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[["Server", socket.socket], object]


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


def reply(body: bytes, status: int = 200, **headers: str) -> bytes:
    """An answer with its length, the headers written with underscores."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

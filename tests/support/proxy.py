"""A TCP proxy before a server: an outage that begins and ends at once, and connections that break in mid-sentence."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes everything on, until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refuses = False
        self._words: tuple[bytes, ...] = ()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def pass_on(self) -> None:
        """Be as if not there."""
        self._refuses, self._words = False, ()

    def refuse(self) -> None:
        """Hang up on everyone, also those who call."""
        self._refuses = True
        self.cut()

    def cut(self) -> None:
        """Hang up on everyone who is connected."""
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def cut_at(self, *words: bytes) -> None:
        """Hang up when one of these is said; it does not arrive. Who is connected is hung up on first."""
        self._refuses, self._words = False, words
        self.cut()

    def close(self) -> None:
        """End it."""
        self._refuses = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                if self._refuses:
                    return
                self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if any(word in data for word in self._words):
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def before(port: int) -> Iterator[Proxy]:
    """A proxy before this port."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()

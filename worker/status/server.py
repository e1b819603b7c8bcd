"""The HTTP server of a worker's status, on threads of its own: `/livez`, `/readyz`, `/metrics`.

`/livez`: 200 as long as each loop goes on, also while it waits for a server; 503 = restart the worker. `/readyz`: 200
if the broker, the database, its tables and the queues are as they must be; ConnectWise is not among them. Both say in
JSON what is wrong.
"""

import json
from collections.abc import Callable, Iterable
from socket import AF_INET, AF_INET6
from socketserver import TCPServer, ThreadingMixIn
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from store import Database
from worker import metrics
from worker.health import Readiness
from worker.status.store_metrics import StoreMetrics

# A loop that has not come round for so long hangs: all their waits are far shorter.
HANGS_SECONDS = 180.0
REQUEST_SECONDS, END_SECONDS = 5.0, 1.0
BACKLOG = 64

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, host: str, port: int) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for the name of the host, as the library does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS  # of a client that connects and asks nothing

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - the signature is the library's
        """Log nothing: probes come every few seconds."""


class StatusServer:
    """A context manager that serves the status; `port` 0 = a free one. Raises OSError if the address cannot be had.

    One thread of it reads metrics of the store from `database`, which the caller closes.
    """

    def __init__(self, host: str, port: int, database: Database, readiness: Readiness) -> None:
        self._server = _Server(host, port)
        self.port: int = self._server.server_port
        store_metrics, self._stop = StoreMetrics(database), Event()
        self._server.set_app(_app(readiness, _registry(store_metrics)))
        self._threads = [
            Thread(target=self._server.serve_forever, name="status", daemon=True),
            Thread(target=store_metrics.run, args=(self._stop,), name="store metrics", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(END_SECONDS)


def _registry(store_metrics: StoreMetrics) -> CollectorRegistry:
    """Return the worker's own metrics and the store's, of which each server has its own."""
    registry = CollectorRegistry()
    registry.register(store_metrics)
    registry.register(metrics.REGISTRY)
    return registry


def _app(readiness: Readiness, registry: CollectorRegistry) -> Callable[..., Iterable[bytes]]:
    exposition = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start_response, "405 Method Not Allowed", {"problem": "ask with GET"})
        match environ["PATH_INFO"]:
            case "/metrics":
                for part, works in readiness.parts().items():
                    metrics.READY.labels(part).set(works)
                found: Iterable[bytes] = exposition(environ, start_response)
                return found
            case "/livez":
                hanging = readiness.hanging(HANGS_SECONDS)
                return _answer(start_response, _status(not hanging), {"ok": not hanging, "hanging": hanging})
            case "/readyz":
                troubles = readiness.troubles
                return _answer(start_response, _status(not troubles), {"ok": not troubles, "troubles": troubles})
            case _:
                return _answer(start_response, "404 Not Found", {"there_are": ["/livez", "/readyz", "/metrics"]})

    return app


def _status(ok: bool) -> str:  # noqa: FBT001 - it is the whole input
    return "200 OK" if ok else "503 Service Unavailable"


def _answer(start_response: StartResponse, status: str, content: object) -> list[bytes]:
    body = json.dumps(content).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

"""Serves a simulator: as a process of its own (`run`), or inside a test process (`SimulatorServer`)."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cwclient.simulator.app import Simulator
from cwclient.simulator.certificates import TlsFiles, ensure_certificates
from cwclient.simulator.document import StateDocument
from cwclient.simulator.faults import Faults
from cwclient.simulator.requestlog import RequestLog, RequestRecord
from cwclient.simulator.state import State

_START_SECONDS = 30


@dataclass(frozen=True)
class Options:
    """The settings of a server: a state file, the address (port 0 = a free one), the log file, and TLS.

    Without `tls_dir` the certificates live in a temporary folder; `host_names` are further names that the server
    certificate is good for; `plain` serves http.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    log: Path | None = None
    tls_dir: Path | None = None
    host_names: tuple[str, ...] = ()
    plain: bool = False


class Protocol(H11Protocol):
    """uvicorn's protocol that hands each request its transport, so that a response can be to close the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Put the transport where every request of this connection finds it: in `scope["state"]`."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A server that says when it is ready, ends promptly, and takes SIGINT and SIGTERM as the end of a good run."""

    def __init__(self, simulator: Simulator, tls: TlsFiles | None, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                simulator.app,
                loop="asyncio",
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=2,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        self._simulator = simulator
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut what is still under way: a hanging request must not keep the server."""
        self._simulator.closing.set()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle the signals as uvicorn does, but do not raise them again: the exit status is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def run(options: Options) -> None:
    """Serve until SIGINT or SIGTERM. When ready, print one JSON line to stdout: `{"url", "ca_file", "log"}`.

    Raises OSError if a file or the port cannot be had, and ValueError for a bad state document.
    """
    state = State.from_file(options.state)
    with ExitStack() as stack:
        tls = None if options.plain else _certificates(stack, options.tls_dir, (options.host, *options.host_names))
        log = stack.enter_context(RequestLog(options.log))
        listener = stack.enter_context(_listen(options.host, options.port))
        ready = {
            "url": _url(listener, options.host, tls),
            "ca_file": str(tls.ca.resolve()) if tls else None,
            "log": str(options.log.resolve()) if options.log else None,
        }

        def announce() -> None:
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()

        _Server(Simulator(state, log), tls, announce).run([listener])


class SimulatorServer:
    """A simulator in a thread of this process, on a free port of 127.0.0.1: a context manager.

    `state` is a `State`, or a state document as a mapping. Inside the block: `url` (no trailing slash), `ca_file`
    (None without TLS), `state`, `faults`, and `log`, the records so far. Raises ValueError for a bad document.
    """

    url: str
    ca_file: Path | None

    def __init__(self, state: State | Mapping[str, object], *, tls: bool = True) -> None:
        self.state = state if isinstance(state, State) else State(StateDocument.model_validate(state))
        self._tls = tls
        self._request_log = RequestLog()
        self._simulator = Simulator(self.state, self._request_log)
        self._stack = ExitStack()

    @property
    def faults(self) -> Faults:
        """The faults that are switched on."""
        return self._simulator.faults

    @property
    def log(self) -> list[RequestRecord]:
        """The records of the requests so far, a copy."""
        return list(self._request_log.records)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            tls = _certificates(stack, None, ()) if self._tls else None
            listener = stack.enter_context(_listen("127.0.0.1", 0))
            self.url = _url(listener, "127.0.0.1", tls)
            self.ca_file = tls.ca if tls else None
            ready = threading.Event()
            server = _Server(self._simulator, tls, ready.set)
            thread = threading.Thread(target=server.run, args=([listener],), name="connectwise-simulator")
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)  # noqa: FBT003 - setattr takes it by position
            if not ready.wait(_START_SECONDS):
                raise RuntimeError("the simulator did not start")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _certificates(stack: ExitStack, directory: Path | None, names: tuple[str, ...]) -> TlsFiles:
    if directory is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectwise-simulator-")))
    return ensure_certificates(directory, [name for name in names if name not in {"0.0.0.0", "::"}])  # noqa: S104 - left out


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    # Connections inherit it; asyncio sets it only on sockets of its own making, and without it each reply waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(listener: socket.socket, host: str, tls: TlsFiles | None) -> str:
    reachable = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104 - named, not bound
    return f"{'https' if tls else 'http'}://{reachable}:{listener.getsockname()[1]}"

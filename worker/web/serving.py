"""The pages are served until the process is told to end."""

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from store import migrate
from worker.bootstrap import open_database
from worker.coordination.sending import Sender
from worker.operations.runner import OperationRunner
from worker.settings import Address, Settings, SettingsError
from worker.web.application import application
from worker.web.site import Site
from worker.web.users import Users, UsersError

END_SECONDS = 5
IDLE_SECONDS = 15


class _Server(uvicorn.Server):
    """uvicorn's server, which tells the pages that it ends, so that those that follow something end too."""

    def __init__(self, config: uvicorn.Config, site: Site, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._site, self._ready = site, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        self._ready(self._site.origin or f"http://{Address(self.config.host, port)}")

    @contextmanager
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._site.closing.set()
        await super().shutdown(sockets)


def serve(
    settings: Settings, address: Address, users_file: Path | None, origin: str | None, ready: Callable[[str], None]
) -> None:
    """Serve the pages until SIGTERM or SIGINT; `ready` gets their address. Raises SettingsError, and StoreError."""
    users = _users(users_file)
    if users is None and not _is_loopback(address.host):
        raise SettingsError(
            [f"--address: {address.host} can be reached by others, so the pages need users: give --users FILE"]
        )
    with closing(open_database(settings)) as database, Sender(settings, database) as sender:
        migrate.check(database)
        site = Site(settings, database, sender, users, checked_origin(origin))
        config = uvicorn.Config(
            application(site),
            host=address.host,
            port=address.port,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=END_SECONDS,
        )
        config.load()
        with _bound(config) as bound, OperationRunner(database, site.begun):
            _Server(config, site, ready).run(sockets=[bound])


def checked_origin(url: str | None) -> str | None:
    """The origin of the address that browsers use. Raises SettingsError if it is none."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.path in {"", "/"}
        valid = valid and not (parts.query or parts.fragment or "@" in parts.netloc)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(["--url: give the address that browsers use, such as https://billing.example"])
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _users(file: Path | None) -> Users | None:
    if file is None:
        return None
    try:
        return Users(file)
    except UsersError as error:
        raise SettingsError([f"--users: {error}"]) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(config: uvicorn.Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # With its protocol, by which asyncio knows that answers must not wait for acknowledgements.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((config.host, config.port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = error.strerror if isinstance(error, OSError) else "ports end at 65535"
        raise SettingsError([f"--address: {Address(config.host, config.port)} cannot be had ({reason})"]) from None
    return bound

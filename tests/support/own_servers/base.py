"""The base class of both kinds of own servers."""

import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cwclient.simulator.certificates import TlsFiles, ensure_certificates
from tests.support.own_servers.places import Missing, Place, free_port
from tests.support.servers import docker_answers
from tests.support.waiting import wait_for

STARTS_WITHIN = 120.0


class OwnServer(ABC):
    """A context manager: a server that runs on `url`, and answers.

    With `tls` it serves nothing in clear: True = with a certificate for localhost and 127.0.0.1 that `ca_file` signed,
    or with the given files.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    url: str

    def __init__(self, *, tls: bool | TlsFiles = False) -> None:
        # Not in a test's folder: the server may run as another user.
        self.folder = Path(tempfile.mkdtemp(prefix=f"own-{self.name.lower()}-"))
        self.folder.chmod(0o755)
        self.tls = ensure_certificates(self.folder / "tls") if tls is True else tls or None
        self.ca_file = self.tls.ca if self.tls else None
        self.port = free_port()
        self._place = self._find()

    def start(self) -> None:
        """Start it with the data that it has, unless it runs; return when it serves."""
        wait_for(self._is_up, f"{self.name} to answer", STARTS_WITHIN)

    def stop(self) -> None:
        """Stop it in good order, as an update does."""
        self._place.stop(self.stop_signal)

    def kill(self) -> None:
        """End it without a last word."""
        self._place.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of all files of its data and logs."""
        return self._place.files()

    def close(self) -> None:
        """Kill it, and remove everything."""
        self._place.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self) -> Place:
        place = self._process() or (self._container() if docker_answers() else None)
        if place is None:
            shutil.rmtree(self.folder)
            raise Missing(f"no {self.name} to restart: install it (apt-get install {self.package}), or start Docker")
        return place

    def _is_up(self) -> bool:
        if self._place.ended():
            # More than once: what a killed PostgreSQL leaves keeps the next one from starting for a moment.
            self._place.start()
        return self._answers()

    @abstractmethod
    def _process(self) -> Place | None:
        """The server from this machine's programs; None if they are not here."""

    @abstractmethod
    def _container(self) -> Place:
        """The server in a container."""

    @abstractmethod
    def _answers(self) -> bool:
        """Log in once."""

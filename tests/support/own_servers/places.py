"""The place of a server of a test's own: as a process of this machine, or in a container. Both keep port and data."""

import io
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from testcontainers.core.container import DockerContainer

from tests.support.waiting import wait_for, within

STOPS_WITHIN = 60
# Reads until the process of the tests is gone, however it ended.
END_WITH_THE_TESTS = 'read -r _; kill -KILL "-$1"; rm -rf -- "$2"'


class Missing(Exception):
    """Neither the server's program nor Docker is here; the text says how to get them."""


class Place(Protocol):
    """A server that can be started again and again with the data that it has."""

    def start(self) -> None:
        """Start it; it does not answer yet."""

    def stop(self, by: signal.Signals) -> None:
        """End it by a signal, and return when it has ended."""

    def ended(self) -> bool:
        """True if it does not run."""

    def run(self, *command: str) -> None:
        """Run a command of the server's beside it. Raises CalledProcessError."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file of its data and logs."""

    def close(self) -> None:
        """Remove it with all of its data."""


@dataclass
class Process:
    """A process of this machine, leader of a group of its own. `folder` holds everything, and goes with `close`."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    _process: "subprocess.Popen[bytes] | None" = None
    _guard: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Append what it prints to `output.log`."""
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=dict(os.environ) | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self.user,
                cwd=self.folder,
                start_new_session=True,
            )
        self._dismiss_guard()
        guard = ["sh", "-c", END_WITH_THE_TESTS, "guard", str(self._process.pid), str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    def stop(self, by: signal.Signals) -> None:
        """Signal the process, with SIGKILL its whole group."""
        if self._process is None or self.ended():
            return
        if by == signal.SIGKILL:
            os.killpg(self._process.pid, by)
        else:
            self._process.send_signal(by)
        self._process.wait(within(STOPS_WITHIN))
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def ended(self) -> bool:
        """A process that was never started has ended too."""
        return self._process is None or self._process.poll() is not None

    def run(self, *command: str) -> None:
        """With the server's environment."""
        subprocess.run(
            command, env=dict(os.environ) | dict(self.environment), user=self.user, check=True, capture_output=True
        )

    def files(self) -> Iterator[tuple[str, bytes]]:
        """All files of the folder."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self.folder)), path.read_bytes()

    def close(self) -> None:
        """Kill what still runs."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Container:
    """A container that keeps its host port, so that a restart finds the same clients."""

    def __init__(self, container: DockerContainer, *, inside: int, port: int, data: str) -> None:
        self._container, self._data = container.with_bind_ports(inside, port), data
        self._made = False

    def start(self) -> None:
        """Make it the first time."""
        if self._made:
            self._docker.start()
        else:
            self._container.start()
            self._made = True

    def stop(self, by: signal.Signals) -> None:
        """Signal its first process."""
        if self.ended():
            return
        self._docker.kill(signal=by.name)
        wait_for(self.ended, "the container's end", STOPS_WITHIN)

    def ended(self) -> bool:
        """As Docker sees it."""
        if not self._made:
            return True
        self._docker.reload()
        return bool(self._docker.status != "running")

    def run(self, *command: str) -> None:
        """Inside the container."""
        status, output = self._docker.exec_run(list(command))
        if status:
            raise subprocess.CalledProcessError(status, command, output)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """All files of the data folder."""
        chunks, _ = self._docker.get_archive(self._data)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    yield member.name, content.read()

    def close(self) -> None:
        """Its volumes too."""
        if self._made:
            self._container.stop()

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()


def free_port() -> int:
    """A free port of 127.0.0.1, of those that neither clients are given nor the docs name: a restart finds it free."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

"""`python -m MODULE …` in a process of its own, forked from one that has our modules loaded."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.support.waiting import within

ROOT = Path(__file__).parents[2]
"""The folder from which `python -m` finds all our modules."""

ENDS_WITHIN = within(20.0)


class Forked:
    """A forked process, with the methods of `subprocess.Popen`."""

    def __init__(self, answer: socket.socket, command: str) -> None:
        self._answer, self._command, self._received = answer, command, b""
        self.returncode: int | None = None
        self.pid = int(self._line(None) or 0)

    def poll(self) -> int | None:
        """The exit code, the negative number of the signal that ended it; None = it runs."""
        if self.returncode is None and (line := self._line(0)) is not None:
            self._end(line)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises TimeoutExpired."""
        if self.returncode is None:
            line = self._line(timeout)
            if line is None:
                raise subprocess.TimeoutExpired(self._command, timeout or 0)
            self._end(line)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Signal SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Signal SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _end(self, line: str) -> None:
        self.returncode = int(line)
        self._answer.close()

    def _line(self, timeout: float | None) -> str | None:
        self._answer.settimeout(timeout)
        while b"\n" not in self._received:
            try:
                received = self._answer.recv(64)
            except (TimeoutError, BlockingIOError):
                return None
            if not received:
                raise ChildProcessError(f"nobody watches {self._command} any more")
            self._received += received
        line, self._received = self._received.split(b"\n", 1)
        return line.decode()


class ForkServer:
    """The process that has all loaded. It starts with the first use, and ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> Forked:
        """Start `python -m MODULE ARGUMENTS` in a folder. A stream that is not given is empty, or this process's."""
        request = {
            "module": module,
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
        }
        mine, theirs = socket.socketpair()
        with theirs, Path(os.devnull).open("rb") as nothing:
            streams = [(stdin or nothing).fileno(), stdout.fileno() if stdout else 1, stderr.fileno() if stderr else 2]
            socket.send_fds(self.control, [json.dumps(request).encode()], [*streams, theirs.fileno()])
        return Forked(mine, " ".join([module, *arguments]))

    @property
    def control(self) -> socket.socket:
        """Takes requests, each in one piece; a program that inherits it may ask too (see `forked_program`)."""
        with self._lock:
            if self._control is None:
                self._control = self._begin()
            return self._control

    def _begin(self) -> socket.socket:
        mine, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.fork_server"]
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        atexit.register(self._close)
        return mine

    def _close(self) -> None:
        assert self._control is not None
        assert self._process is not None
        # It ends when nobody can ask for more.
        self._control.close()
        self._process.wait(ENDS_WITHIN)


FORK_SERVER = ForkServer()

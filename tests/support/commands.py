"""The real command `phin-connectwise`, in a process of its own."""

import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tests.support.forked import FORK_SERVER
from tests.support.waiting import within
from worker.setting_names import PREFIX

PROGRAM = str(Path(sys.executable).with_name("phin-connectwise"))
ENDS_WITHIN = within(120.0)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with exactly these settings, and a terminal of 80 columns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    # Workers of several tests run side by side, and each would want the same port for its status.
    given = {"STATUS_ADDRESS": "", **settings}
    return kept | {"COLUMNS": "80"} | {f"{PREFIX}{name}": value for name, value in given.items()}


def run(
    *arguments: str | Path, folder: Path, settings: Mapping[str, str] | None = None, typed: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a folder, with `typed` on its standard input."""
    command = list(map(str, arguments))
    given = environment(settings or {})
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(typed.encode())
        stdin.seek(0)
        process = FORK_SERVER.start(
            "worker.cli", command, folder=folder, environment=given, stdin=stdin, stdout=stdout, stderr=stderr
        )
        try:
            code = process.wait(ENDS_WITHIN)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, code, stdout.read().decode(), stderr.read().decode())


@contextmanager
def in_terminal(*arguments: str, folder: Path) -> Iterator[tuple[Iterator[str], "subprocess.Popen[bytes]"]]:
    """Run the installed program in a terminal of its own; yields the lines that it shows, until it ends, and it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments], cwd=folder, env=environment({}), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        with os.fdopen(ours, encoding="utf-8", newline="") as shown:
            yield _lines(shown), process
            process.wait(ENDS_WITHIN)
    finally:
        process.kill()
        process.wait()


def _lines(shown: TextIO) -> Iterator[str]:
    # A terminal whose last program has ended is read with an error.
    with suppress(OSError):
        yield from shown


def run_alone(
    *arguments: str | Path, folder: Path, settings: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the installed program `phin-connectwise` to its end, in a process that loads all that it needs itself."""
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=environment(settings or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=ENDS_WITHIN,
        check=False,
    )

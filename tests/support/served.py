"""The pages as `phin-connectwise web` serves them, in a process of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import environment
from tests.support.forked import FORK_SERVER
from tests.support.waiting import wait_for, within

SAID = "The pages are at "


@contextmanager
def served(folder: Path, settings: Mapping[str, str], *options: str) -> Iterator[str]:
    """Serve the pages of an installation on a free port of this machine. Yields their address."""
    out, log = folder / "web.out", folder / "web.log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        process = FORK_SERVER.start(
            "worker.cli",
            ["web", "--address", "127.0.0.1:0", *options],
            folder=folder,
            environment=environment(settings),
            stdout=stdout,
            stderr=stderr,
        )
        try:
            wait_for(lambda: SAID in out.read_text("utf-8") or process.poll() is not None, "the pages", 30.0)
            assert process.poll() is None, log.read_text("utf-8")
            yield out.read_text("utf-8").partition(SAID)[2].strip()
        finally:
            process.terminate()
            process.wait(within(30.0))

"""The fast ConnectWise in a process of its own, as the measurements see it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seen:
    """The requests since `forget`, by method and `connections`; the quantity of each addition by its id."""

    asked: Mapping[str, int]
    quantities: Mapping[int, float]


class StubConnectWise:
    """A running one. `url` is the site of all partners."""

    def __init__(self, url: str) -> None:
        self.url = url

    def seen(self) -> Seen:
        """Ask it what it was asked."""
        answer = self._ask("GET")
        return Seen(answer["asked"], {int(addition): value for addition, value in answer["quantities"].items()})

    def forget(self) -> None:
        """Let it count from 0 again; additions keep their quantities."""
        self._ask("DELETE")

    def _ask(self, method: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/stub", method=method)) as answer:  # noqa: S310 - it is ours
            return json.load(answer)


@contextmanager
def stub_connectwise(latency: float) -> Iterator[StubConnectWise]:
    """Run one whose answers take so many seconds."""
    program = [sys.executable, str(Path(__file__).with_name("stub_server.py")), str(latency)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield StubConnectWise(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.stdin.close()

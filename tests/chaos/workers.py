"""The worker processes of a run, kept alive as an orchestrator does: whoever ends is started again.

Each has so much memory and no more.
"""

import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.support.memory_limit import MemoryLimited

WORKERS = 2
MEMORY_LIMIT = 512
LOOK_SECONDS = 0.5
DRAINS_WITHIN = 60.0
RECORDED = ".recorded"
"""The ending of the files with spans and metrics."""


class Workers:
    """A context manager: workers run inside it. `ends` counts their exit codes."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment, self._folder = dict(environment), folder
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._started: list[MemoryLimited] = []
        self._running: list[MemoryLimited] = []
        self._thread = threading.Thread(target=self._keep, name="workers")
        self.ends: Counter[int] = Counter()

    def __enter__(self) -> "Workers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for process in self._running:
            process.kill()
            process.wait()

    @property
    def peak(self) -> float:
        """The most memory that one of them was seen with, in MiB."""
        return max(process.peak for process in self._started)

    @property
    def starved(self) -> list[str]:
        """Those that the memory limit ended."""
        return [f"worker-{n}" for n, process in enumerate(self._started) if process.exceeded]

    def kill(self, chance: random.Random) -> bool:
        """Kill one of them without a last word; whether one was there to be killed."""
        with self._lock:
            alive = [process for process in self._running if process.poll() is None]
            if not alive:
                return False
            victim = chance.choice(alive)
            victim.kill()
            victim.wait()
        return True

    def drain(self) -> list[int]:
        """End all of them as a deployment does; their exit codes."""
        self._stop.set()
        self._thread.join()
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(DRAINS_WITHIN) for process in self._running]

    def _keep(self) -> None:
        while True:
            with self._lock:
                for process in [one for one in self._running if one.poll() is not None]:
                    self.ends[process.returncode] += 1
                    self._running.remove(process)
                while len(self._running) < WORKERS:
                    self._running.append(self._start())
            if self._stop.wait(LOOK_SECONDS):
                return

    def _start(self) -> MemoryLimited:
        number = len(self._started)
        files = [str(self._folder / f"{what}-{number}{RECORDED}") for what in ("spans", "metrics")]
        with (self._folder / f"worker-{number}.log").open("wb") as log:
            process = MemoryLimited(
                [sys.executable, "-m", "tests.chaos.worker", *files],
                limit=MEMORY_LIMIT,
                env=self._environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self._started.append(process)
        return process

"""The results of an embedded worker, which has no queue for them: they are read from the store."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from time import monotonic, perf_counter
from types import TracebackType
from typing import Self

from messages import FINAL
from store import Database
from tests.benchmarks.results_queue import Answer

LOOK_SECONDS = 0.001
LINES = "SELECT company_id, status FROM push_lines WHERE push_id = ?"


class StoredResults:
    """Waits as `ResultsQueue` does, by looking every millisecond, on a connection that locks nothing."""

    def __init__(self, database: Database) -> None:
        self._file = database.engine.url.database
        self._missing = set[Answer]()
        self.statuses = Counter[str]()

    def __enter__(self) -> Self:
        self._connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, isolation_level=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def expect(self, answers: Iterable[Answer]) -> None:
        """From now on wait for these."""
        self.statuses.clear()
        self._missing = set(answers)

    def wait(self, seconds: float) -> float:
        """Return when the last of them was seen, by `perf_counter`. Raises TimeoutError."""
        until, pause = monotonic() + seconds, threading.Event()
        while True:
            for push_id in {answer.push_id for answer in self._missing}:
                self._look(push_id)
            if not self._missing:
                return perf_counter()
            if monotonic() > until:
                raise TimeoutError(f"{len(self._missing)} answers have not come in {seconds:g} s")
            pause.wait(LOOK_SECONDS)

    def _look(self, push_id: str) -> None:
        """Take the answers of a push; if its completion is waited for, only once it is there, as it comes last."""
        completion = Answer(push_id, None)
        if completion in self._missing:
            state = self._connection.execute("SELECT state FROM pushes WHERE push_id = ?", (push_id,)).fetchone()
            if state != ("completed",):
                return
            self._missing.remove(completion)
        for company_id, status in self._connection.execute(LINES, (push_id,)).fetchall():
            if status in FINAL and (answer := Answer(push_id, company_id)) in self._missing:
                self._missing.remove(answer)
                self.statuses[status] += 1

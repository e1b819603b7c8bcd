"""The results of an embedded worker, which has no queue for them: they are read from the store."""

import threading
from collections import Counter
from collections.abc import Iterable
from time import monotonic, perf_counter
from types import TracebackType
from typing import Self

from sqlalchemy import select

from messages import FINAL
from store import Database
from store.schema import push_lines, pushes
from tests.benchmarks.results_queue import Answer

LOOK_SECONDS = 0.001


class StoredResults:
    """Waits as `ResultsQueue` does, by looking every millisecond."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._missing = set[Answer]()
        self.statuses = Counter[str]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def expect(self, answers: Iterable[Answer]) -> None:
        """From now on wait for these."""
        self.statuses.clear()
        self._missing = set(answers)

    def wait(self, seconds: float) -> float:
        """Return when the last of them was seen, by `perf_counter`. Raises TimeoutError."""
        until, pause = monotonic() + seconds, threading.Event()
        while True:
            self._look()
            if not self._missing:
                return perf_counter()
            if monotonic() > until:
                raise TimeoutError(f"{len(self._missing)} answers have not come in {seconds:g} s")
            pause.wait(LOOK_SECONDS)

    def _look(self) -> None:
        push_ids = {answer.push_id for answer in self._missing}
        of_lines = select(push_lines.c.push_id, push_lines.c.company_id, push_lines.c.status)
        of_pushes = select(pushes.c.push_id, pushes.c.state)
        with self._database.begin() as tx:
            lines = tx.execute(of_lines.where(push_lines.c.push_id.in_(push_ids))).all()
            states = tx.execute(of_pushes.where(pushes.c.push_id.in_(push_ids))).all()
        for push_id, company_id, status in lines:
            if status in FINAL and (answer := Answer(push_id, company_id)) in self._missing:
                self._missing.remove(answer)
                self.statuses[status] += 1
        self._missing -= {Answer(push_id, None) for push_id, state in states if state == "completed"}

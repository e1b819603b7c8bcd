"""The threads that make a run's calls: each goes from one call to the next by itself, and wakes the run only seldom.

Used by `calls`, on a pool that all runs share. A switch between two threads for every call would cost more CPU than
many a call.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

import structlog

from worker.sync.call_pool import CallPool

log = structlog.get_logger()


@dataclass(eq=False)
class Call:
    """A call: a pool's thread makes it with these log `tags`, then the run's own thread calls `done` with it.

    `make` returns its result, or raises its error. After an `urgent` one its thread ends, so the run is told at once.
    """

    make: Callable[[], Any]
    done: Callable[["Call"], None]
    tags: Mapping[str, object] = field(default_factory=dict)
    urgent: bool = False
    error: BaseException | None = None
    _value: Any = None

    def run(self) -> None:
        """Make the call, and keep its result or error."""
        with structlog.contextvars.bound_contextvars(**self.tags):
            try:
                self._value = self.make()
            except BaseException as error:  # noqa: BLE001 - `done` takes it
                self.error = error

    def result(self) -> Any:  # noqa: ANN401 - that of `make`
        """Return the result. Raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self._value


class CallThreads:
    """The calls of a run that are under way. `follow` names the next call of a thread, None = it has none to make.

    `wake` is called when a thread ends, and when the run asked for it.
    """

    def __init__(self, pool: CallPool, follow: Callable[[], Call | None], wake: Callable[[], None]) -> None:
        self._pool, self._follow, self._wake = pool, follow, wake
        self._lock = Lock()
        self._ended: list[Call] = []
        self._wake_after = 1
        # The shortest of the calls until now: those that take longer may have waited for this worker.
        self._shortest = inf
        self.running = 0
        """The number of threads that make calls."""
        self.has_failed = False
        """True if a call has failed and the run has not judged its error yet."""

    @property
    def under_way(self) -> int:
        """The number of calls whose results have not been taken yet."""
        return self.running + len(self._ended)

    def start(self, call: Call) -> None:
        """Have one more thread make calls, this one first."""
        with self._lock:
            self.running += 1
        self._pool.submit(copy_context().run, self._work, call)

    def wake_after(self, ended: int) -> None:
        """Wake the run once so many calls have ended whose results were not taken."""
        with self._lock:
            self._wake_after = ended
            is_over = len(self._ended) >= ended
        if is_over:
            self._wake()

    def take_ended(self) -> None:
        """Call `done` of the calls that have ended."""
        with self._lock:
            ended, self._ended = self._ended, []
        for call in ended:
            call.done(call)
        with self._lock:
            # Not before all of them are judged: only then is it known what may follow.
            self.has_failed = any(call.error is not None for call in self._ended)

    def _work(self, call: Call | None) -> None:
        while call is not None:
            self._make(call)
            with self._lock:
                self._ended.append(call)
                # What an error means for the other calls is for the run to decide. It also loads anew beside urgent
                # ones, so nothing may follow these by itself.
                self.has_failed = self.has_failed or call.error is not None
                following = None if self.has_failed or call.urgent else self._choose()
                self.running -= following is None
                tells = following is None or len(self._ended) >= self._wake_after
            if tells:
                self._wake()
            call = following

    def _make(self, call: Call) -> None:
        began = monotonic()
        self._pool.begin(call, self._shortest)
        call.run()
        self._pool.end(call)
        if call.error is None:
            self._shortest = min(self._shortest, monotonic() - began)

    def _choose(self) -> Call | None:
        try:
            return self._follow()
        except Exception:
            # The run chooses in its own thread then, and ends if it meets the same bug.
            log.exception("call.not_chosen")
            return None

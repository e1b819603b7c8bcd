"""Few threads go on with many runs: one that waits for its calls, or for a time, holds no thread.

Used by `partner_pool`.
"""

from collections.abc import Callable, Generator
from contextvars import Context
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from queue import SimpleQueue
from threading import Condition, Thread
from time import monotonic

THREADS = 8

Steps = Generator[float, None, None]
"""A run: it yields the monotonic time until which it waits. It goes on then, or as soon as it is woken."""


@dataclass(eq=False)
class _ActiveRun:
    """A run under way: waiting until a time, or if that is None ready since a time, or a thread goes on with it.

    `alarm`: the earliest time at which the clock looks at it.
    """

    context: Context
    steps: Steps = field(init=False)
    ready_since: float = 0.0
    waits_until: float | None = None
    is_woken: bool = False
    alarm: float = inf

    def go_on(self) -> float | None:
        """Go on with the run until it waits. Returns until when; None = it has ended."""
        return next(self.steps, None)


class RunThreads:
    """The threads and the runs that share them. `failed` is told an error that a run let pass."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        # The run that has been ready for longest goes first: none starves beside others, or loses its lease.
        self._ready: SimpleQueue[_ActiveRun | None] = SimpleQueue()
        self._longest_wait = 0.0
        self._active: set[_ActiveRun] = set()
        self._alarms: list[tuple[float, int, _ActiveRun]] = []
        self._number = count()
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._is_stopping = False

    def __len__(self) -> int:
        """Return the number of runs under way."""
        return len(self._active)

    def take_longest_wait(self) -> float:
        """Return the longest wait of a ready run for a thread since this was last asked, in seconds."""
        with self._changed:
            longest, self._longest_wait = self._longest_wait, 0.0
        return longest

    def start(self, context: Context, begin: Callable[[Callable[[], None]], Steps]) -> None:
        """Start a run in this logging context. `begin` gets the function that wakes it, safe from any thread."""
        run = _ActiveRun(context)
        run.steps = begin(lambda: self._wake(run))
        with self._changed:
            self._active.add(run)
            if not self._threads:
                self._threads = [Thread(target=self._watch, name="alarms", daemon=True)]
                self._threads += [Thread(target=self._work, name=f"run {n}", daemon=True) for n in range(THREADS)]
                for thread in self._threads:
                    thread.start()
        self._put(run)

    def wake_all(self) -> None:
        """Have every run go on: something that all of them wait for has changed."""
        for run in list(self._active):
            self._wake(run)

    def stop(self, until: float) -> bool:
        """Let all runs end, then the threads. Returns False if some runs still go on at this monotonic time."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: not self._active, max(0.0, until - monotonic()))
            self._is_stopping = True
            self._changed.notify_all()
        for _ in range(THREADS):
            self._ready.put(None)
        return in_time

    def _wake(self, run: _ActiveRun) -> None:
        with self._changed:
            if run.waits_until is None:
                run.is_woken = True
                return
            run.waits_until = None
        self._put(run)

    def _put(self, run: _ActiveRun) -> None:
        run.ready_since = monotonic()
        self._ready.put(run)

    def _work(self) -> None:
        while (run := self._ready.get()) is not None:
            with self._changed:
                self._longest_wait = max(self._longest_wait, monotonic() - run.ready_since)
            self._go_on(run)

    def _go_on(self, run: _ActiveRun) -> None:
        run.is_woken = False
        try:
            until = run.context.run(run.go_on)
        except Exception as error:  # noqa: BLE001 - whoever started it is told
            self._failed(error)
            until = None
        with self._changed:
            if until is None:
                self._active.discard(run)
                self._changed.notify_all()
                return
            if not run.is_woken:
                run.waits_until = until
                self._set_alarm(run, until)
                return
        self._put(run)

    def _set_alarm(self, run: _ActiveRun, at: float) -> None:
        """Have the clock look at the run at this time, unless it does so sooner anyway."""
        if at < run.alarm:
            run.alarm = at
            heappush(self._alarms, (at, next(self._number), run))
            if self._alarms[0][2] is run:
                self._changed.notify_all()

    def _watch(self) -> None:
        """Have runs go on whose time has come."""
        while not self._is_stopping:
            with self._changed:
                now = monotonic()
                due = self._due(now)
                if not due and not self._is_stopping:
                    self._changed.wait(self._alarms[0][0] - now if self._alarms else None)
            for run in due:
                self._put(run)

    def _due(self, now: float) -> list[_ActiveRun]:
        """Take the runs that wait no longer."""
        due = []
        while self._alarms and self._alarms[0][0] <= now:
            at, _, run = heappop(self._alarms)
            if at != run.alarm:
                continue  # an earlier alarm was set after this one
            run.alarm = inf
            if run.waits_until is not None and run.waits_until > now:
                self._set_alarm(run, run.waits_until)
            elif run.waits_until is not None:
                run.waits_until = None
                due.append(run)
        return due

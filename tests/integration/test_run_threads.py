"""Few threads go on with many runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Semaphore
from time import monotonic

import pytest

from tests.support.waiting import wait_for, within
from worker.sync import run_threads
from worker.sync.run_threads import RunThreads, Steps

Wake = Callable[[], None]


@contextmanager
def threads() -> Iterator[RunThreads]:
    """Threads whose runs fail for no reason."""
    failures: list[Exception] = []
    running = RunThreads(failures.append)
    yield running
    assert running.stop(monotonic() + within(10))
    assert not failures


def test_a_run_that_waits_needs_no_thread() -> None:
    """A hundred partners whose servers are slow are served side by side, by eight threads."""
    met: list[int] = []
    wakes: list[Wake] = []

    def begin(wake: Wake) -> Steps:
        wakes.append(wake)
        return steps()

    def steps() -> Steps:
        met.append(1)
        yield monotonic() + 3600
        met.append(2)

    with threads() as running:
        for _ in range(100):
            running.start(copy_context(), begin)
        wait_for(lambda: met.count(1) == 100, "all runs that have begun")
        assert len(running) == 100
        for wake in wakes:
            wake()
        wait_for(lambda: met.count(2) == 100, "all runs that have gone on")


def test_a_call_that_ends_before_the_run_waits_for_it_is_not_missed() -> None:
    """A run that was woken while it was at work goes on at once."""
    ended = Event()

    def begin(wake: Wake) -> Steps:
        def steps() -> Steps:
            for _ in range(1000):
                wake()
                yield monotonic() + 3600
            ended.set()

        return steps()

    with threads() as running:
        running.start(copy_context(), begin)
        assert ended.wait(within(10))


def test_a_run_goes_on_when_its_time_has_come() -> None:
    """A lease is renewed, and a request budget waited for, though no call ends; the earliest time counts."""
    ended: list[float] = []

    def begin(seconds: float) -> Callable[[Wake], Steps]:
        def steps() -> Steps:
            yield monotonic() + seconds
            ended.append(seconds)

        return lambda _: steps()

    with threads() as running:
        for seconds in (0.3, 0.0, 0.1):
            running.start(copy_context(), begin(seconds))
        wait_for(lambda: len(ended) == 3, "all runs")


def test_the_time_of_a_run_comes_also_after_a_pause_without_any() -> None:
    """A lease is renewed whatever runs before have left behind."""
    ended: list[str] = []
    wakes: list[Wake] = []

    def ends_before_its_time(wake: Wake) -> Steps:
        wakes.append(wake)
        return waits("first", 1.0)

    def waits(name: str, seconds: float) -> Steps:
        yield monotonic() + seconds
        ended.append(name)

    def wakes_the_first(_: Wake) -> Steps:
        yield monotonic() + 0.2
        wakes[0]()

    with threads() as running:
        running.start(copy_context(), ends_before_its_time)
        running.start(copy_context(), wakes_the_first)
        wait_for(lambda: not len(running), "the end of the first")
        running.start(copy_context(), lambda _: waits("second", 1.5))
        wait_for(lambda: ended == ["first", "second"], "the end of the second", timeout=10)


def test_no_run_waits_for_ever_beside_others_that_are_always_ready() -> None:
    """Each goes on in its turn, so that it keeps its lease, and uses its requests a minute."""
    served, stop = Event(), Event()

    def busy(wake: Wake) -> Steps:
        while not stop.is_set():
            wake()
            yield monotonic() + 3600
            stop.wait(0.01)

    def late(_: Wake) -> Steps:
        served.set()
        yield monotonic()

    with threads() as running:
        for _ in range(3 * run_threads.THREADS):
            running.start(copy_context(), busy)
        running.start(copy_context(), late)
        assert served.wait(within(10))
        stop.set()


def test_the_wait_of_a_ready_run_for_a_thread_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has more runs than it can go on with takes no more partners."""
    times, begun, go_on = [0.0], Semaphore(0), Event()
    monkeypatch.setattr(run_threads, "monotonic", lambda: times[-1])

    def blocks(_: Wake) -> Steps:
        begun.release()
        go_on.wait(within(10))
        yield 0.0

    with threads() as running:
        for _ in range(run_threads.THREADS):
            running.start(copy_context(), blocks)
            assert begun.acquire(timeout=within(10))
        running.start(copy_context(), blocks)
        assert running.take_longest_wait() == 0.0
        times.append(100.0)
        go_on.set()
        assert begun.acquire(timeout=within(10))
        assert running.take_longest_wait() == 100.0
        wait_for(lambda: not len(running), "the end of all")
        assert running.take_longest_wait() == 0.0


def test_an_error_that_a_run_lets_pass_is_told_and_ends_only_that_run() -> None:
    """A bug in one partner's run leaves the thread to the others."""
    failures: list[Exception] = []
    running, ended = RunThreads(failures.append), Event()

    def faulty(_: Wake) -> Steps:
        yield monotonic()
        raise LookupError("a bug of ours")

    def sound(_: Wake) -> Steps:
        yield monotonic() + 0.1
        ended.set()

    for _ in range(2 * run_threads.THREADS):
        running.start(copy_context(), faulty)
    running.start(copy_context(), sound)
    assert ended.wait(within(10))
    assert running.stop(monotonic() + within(10))
    assert len(failures) == 2 * run_threads.THREADS


def test_runs_that_do_not_end_in_time_are_told() -> None:
    """A worker that drains waits no longer than it may."""

    def steps(_: Wake) -> Steps:
        yield monotonic() + 3600

    running = RunThreads(lambda _: None)
    running.start(copy_context(), steps)
    assert not running.stop(monotonic() + 0.2)

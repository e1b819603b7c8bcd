"""The threads that make a run's calls go from one to the next by themselves."""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Event

import pytest
import structlog

from tests.support.waiting import wait_for, within
from worker.sync.call_pool import CallPool
from worker.sync.call_threads import Call, CallThreads


class Run:
    """A run whose calls are taken from a queue: what it was told, and what it took."""

    def __init__(self, pool: CallPool) -> None:
        self.queue = deque[Call]()
        self.taken: list[object] = []
        self.wakes = 0
        self.threads = CallThreads(pool, lambda: self.queue.popleft() if self.queue else None, self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    def call(self, make: Callable[[], object], *, urgent: bool = False) -> Call:
        """A call whose result or error is noted when it is taken."""
        return Call(make, lambda call: self.taken.append(call.error or call.result()), urgent=urgent)


@pytest.fixture
def run() -> Iterator[Run]:
    """Make a run on a pool of four threads."""
    with CallPool(4) as pool:
        yield Run(pool)


def test_a_thread_makes_many_calls_and_wakes_the_run_once(run: Run) -> None:
    """A push of a hundred lines needs the run's own thread a few times, not two hundred."""
    run.queue.extend(run.call(lambda number=number: number) for number in range(1, 100))  # type: ignore[misc]
    run.threads.wake_after(1000)
    run.threads.start(run.call(lambda: 0))
    wait_for(lambda: run.threads.running == 0, "all calls")
    assert (run.wakes, run.threads.under_way) == (1, 100)
    run.threads.take_ended()
    assert run.taken == list(range(100))
    assert run.threads.under_way == 0


def test_after_an_error_no_call_follows_until_the_run_has_taken_it(run: Run) -> None:
    """A ConnectWise that refuses the keys is not asked again before the run has decided what that means."""
    error, begun, go_on = LookupError("refused"), Event(), Event()

    def fail() -> object:
        raise error

    def answer() -> str:
        begun.set()
        assert go_on.wait(within(10))
        return "answered"

    run.threads.start(run.call(answer))
    assert begun.wait(within(10))
    run.queue.append(run.call(lambda: "next"))
    run.threads.start(run.call(fail))
    wait_for(lambda: run.threads.has_failed, "the error")
    go_on.set()
    wait_for(lambda: run.threads.running == 0, "both threads")
    assert len(run.queue) == 1
    run.threads.take_ended()
    assert (run.taken, run.threads.has_failed) == ([error, "answered"], False)


def test_nothing_follows_while_an_error_is_judged(run: Run) -> None:
    """A refusal may be understood only after a look into the store: until then nothing more is asked."""
    begun, go_on = Event(), Event()

    def answer() -> None:
        begun.set()
        assert go_on.wait(within(10))

    def fail() -> None:
        raise LookupError

    def judge(_: Call) -> None:
        go_on.set()
        wait_for(lambda: run.threads.running == 0, "the end of the other call")
        assert len(run.queue) == 1

    run.threads.start(Call(answer, lambda _: None))
    assert begun.wait(within(10))
    run.queue.append(run.call(lambda: "next"))
    run.threads.start(Call(fail, judge))
    wait_for(lambda: run.threads.has_failed, "the error")
    run.threads.take_ended()
    assert not run.threads.has_failed


def test_a_bug_in_the_choice_of_a_call_stops_no_run(run: Run) -> None:
    """A thread that cannot choose ends, and the run goes on by itself."""

    def follow() -> Call:
        raise LookupError("a bug of ours")

    with CallPool(1) as pool:
        threads = CallThreads(pool, follow, run._wake)
        threads.start(run.call(lambda: "answered"))
        wait_for(lambda: run.wakes == 1, "the end of the thread")
        threads.take_ended()
        assert (run.taken, threads.under_way) == (["answered"], 0)


def test_the_run_is_woken_as_it_asked(run: Run) -> None:
    """Somebody who waits gets an answer at once; results are stored when there are enough of them."""
    goes = [Event() for _ in range(4)]

    def wait(go: Event) -> bool:
        return go.wait(within(10))

    run.queue.extend(run.call(lambda go=go: wait(go)) for go in goes[1:3])  # type: ignore[misc]
    run.queue.append(run.call(lambda: wait(goes[3]), urgent=True))
    run.queue.append(run.call(lambda: "last"))
    run.threads.wake_after(2)
    run.threads.start(run.call(lambda: wait(goes[0])))
    goes[0].set()
    wait_for(lambda: run.threads.under_way == 2, "the first result")
    assert run.wakes == 0
    goes[1].set()
    wait_for(lambda: run.wakes == 1, "two results")
    run.threads.take_ended()
    run.threads.wake_after(1000)
    goes[2].set()
    wait_for(lambda: run.threads.under_way == 2, "the third result")
    assert run.wakes == 1
    goes[3].set()
    wait_for(lambda: run.wakes == 2, "the urgent one")
    assert (run.threads.running, len(run.queue)) == (0, 1)  # the run may load anew beside it, so nothing follows
    run.threads.wake_after(1)
    assert run.wakes == 3  # what has ended by then is not missed


def test_calls_carry_the_tags_of_their_jobs(run: Run) -> None:
    """A log line of a call names its addition and push, and none of the call before."""
    tags: list[dict[str, object]] = []

    def note() -> None:
        tags.append(structlog.contextvars.get_contextvars())

    run.queue.append(Call(note, lambda _: None, {"addition": (2, 2)}))
    run.queue.append(Call(note, lambda _: None))
    with structlog.contextvars.bound_contextvars(partner="p1"):
        run.threads.start(Call(note, lambda _: None, {"addition": (1, 1), "push": "a"}))
    wait_for(lambda: run.threads.running == 0, "all calls")
    assert tags == [
        {"partner": "p1", "addition": (1, 1), "push": "a"},
        {"partner": "p1", "addition": (2, 2)},
        {"partner": "p1"},
    ]

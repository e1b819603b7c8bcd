"""Several processes of a worker by one command, as Python uses one core a process."""

import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from types import FrameType

import structlog

from worker.cli import cores
from worker.cli.exits import explain_errors

RESTART_SECONDS = 1.0
LOOK_SECONDS, PARENT_SECONDS = 0.5, 0.5
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


class Stop:
    """An event that a signal may set while its own thread begins to wait; that of `threading` could deadlock."""

    def __init__(self) -> None:
        self._is_set = False
        self._told: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set it, for ever."""
        self._is_set = True
        self._told.put(None)

    def is_set(self) -> bool:
        """Return True if it is set."""
        return self._is_set

    def wait(self, seconds: float | None) -> bool:
        """Wait until it is set, or for so long; None = for ever. One thread may wait. Returns True if it is set."""
        if not self._is_set:
            with suppress(Empty):
                self._told.get(timeout=seconds)
        return self._is_set


def stop_on_signal() -> Stop:
    """Return an event that SIGTERM and SIGINT set. The same signal again ends the process at once."""
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    return stop


def wait_for_end(stop: Stop, core: cores.Core | None = None) -> None:
    """Keep to a core until `stop`, or until the process that started this one has vanished."""
    parent = parent_process()
    seconds = PARENT_SECONDS if parent else cores.LOOK_SECONDS if core else None
    while not stop.wait(seconds):
        if parent is not None and not parent.is_alive():
            return
        if core is not None:
            core.look()


def run_processes(number: int, work: Callable[[int], None]) -> int:
    """Run `work` in so many processes until SIGTERM or SIGINT, then have them end. Returns the exit code.

    Each gets its number, from 0. A process that is killed is started again. One that ends by itself ends all: the
    others would end like it.
    """
    stop, codes = stop_on_signal(), list[int]()
    running = [_start(work, place) for place in range(number)]
    while not stop.is_set() and not any(codes):
        wait([process.sentinel for process in running], LOOK_SECONDS)
        for place, process in enumerate(running):
            code = process.exitcode
            if code is None or stop.is_set():
                continue
            log.error("worker.process_ended", pid=process.pid, exit_code=code)
            if code >= 0:
                codes.append(code or 1)
            elif not stop.wait(RESTART_SECONDS):
                running[place] = _start(work, place)
    for process in running:
        process.terminate()
    for process in running:
        process.join()
        codes.append(process.exitcode or 0)
    # One that a signal has ended before it worked has the number of that, below 0.
    return max(0, *codes)


def _start(work: Callable[[int], None], number: int) -> BaseProcess:
    # Forked, before there is any thread: what is loaded is then shared.
    process = get_context("fork").Process(target=_work, args=(work, number))
    # A signal that comes now waits for `_work`: Python forgets one that a process gets while it is being forked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _work(work: Callable[[int], None], number: int) -> None:
    # Until the process has handlers of its own a signal ends it: of one that its parent's took nobody would hear.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    with explain_errors():
        work(number)

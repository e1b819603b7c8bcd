"""Several processes of a worker by one command, as Python uses one core a process."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from threading import Event
from types import FrameType

import structlog

from worker.cli.exits import explain_errors

RESTART_SECONDS = 1.0
LOOK_SECONDS = 0.5
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


def stop_on_signal() -> Event:
    """Return an event that SIGTERM and SIGINT set. A second signal ends the process at once."""
    stop = Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    return stop


def wait_for_end(stop: Event) -> None:
    """Wait until `stop`, or until the process that started this one has vanished."""
    parent = parent_process()
    while not stop.wait(LOOK_SECONDS if parent else None):
        if parent is not None and not parent.is_alive():
            return


def run_processes(number: int, work: Callable[[int], None]) -> int:
    """Run `work` in so many processes until SIGTERM or SIGINT, then have them end. Returns the exit code.

    Each gets its number, from 0, and is bound to a core if each core gets as many. A process that is killed is started
    again. One that ends by itself ends all: the others would end like it.
    """
    stop, codes = stop_on_signal(), list[int]()
    cores = _cores(number)
    running = [_start(work, place, cores[place]) for place in range(number)]
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
                running[place] = _start(work, place, cores[place])
    for process in running:
        process.terminate()
    for process in running:
        process.join()
        codes.append(process.exitcode or 0)
    # One that a signal has ended before it worked has the number of that, below 0.
    return max(0, *codes)


def _cores(number: int) -> Sequence[set[int]]:
    """Return the core of each process; empty = any, unless all cores get as many.

    One thread of a process at a time has the interpreter. On one core it finds its data where the last one left it.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # another system than Linux, a sandbox
        cores = []
    if cores and number % len(cores):
        # Another such command would bind its processes to the same, and leave the others idle.
        cores = []
    return [{cores[place % len(cores)]} if cores else set() for place in range(number)]


def _start(work: Callable[[int], None], number: int, cores: set[int]) -> BaseProcess:
    # Forked, before there is any thread: what is loaded is then shared.
    process = get_context("fork").Process(target=_work, args=(work, number, cores))
    # A signal that comes now waits for `_work`: Python forgets one that a process gets while it is being forked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _work(work: Callable[[int], None], number: int, cores: set[int]) -> None:
    # Until the process has handlers of its own a signal ends it: of one that its parent's took nobody would hear.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if cores:
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setaffinity(0, cores)
    with explain_errors():
        work(number)

"""Waiting for what other threads and processes do, without sleeping blindly."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

import pytest

T = TypeVar("T")

TIME_FACTOR = float(os.environ.get("TEST_TIME_FACTOR", "1"))
"""So many times longer than on an idle machine a test waits before it fails; `TEST_TIME_FACTOR=3` on a busy one."""


def within(seconds: float) -> float:
    """A limit of time, in seconds, for this machine."""
    return seconds * TIME_FACTOR


def wait_for(condition: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """Ask again and again until the condition holds; return what it gave. Fails the test naming what was waited for.

    The timeout is that of an idle machine. The longer it takes the less often it is asked: asking costs, too.
    """
    limit, start, pause = within(timeout), monotonic(), threading.Event()
    while not (value := condition()):
        waited = monotonic() - start
        if waited > limit:
            pytest.fail(f"waited {limit:g} s in vain for {what}")
        pause.wait(min(max(0.01, waited / 20), 0.1))
    return value


def together(*calls: Callable[[], T]) -> list[T]:
    """Run each call in a thread of its own, all started at one moment; return their results in order."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))

"""The limit that stands for a container's memory limit in tests of the worker."""

import signal
import subprocess
import sys

from tests.support.memory_limit import MemoryLimited
from tests.support.waiting import wait_for, within

LIMIT = 100
THREADS = """
import threading
both = threading.Barrier(301)
for _ in range(300):
    threading.Thread(target=both.wait).start()
"""


def limited(program: str) -> MemoryLimited:
    """A process of this program, which can wait for its input to be closed."""
    return MemoryLimited([sys.executable, "-c", program], limit=LIMIT, stdin=subprocess.PIPE)


def test_who_exceeds_the_limit_is_ended() -> None:
    """A worker that takes more memory than its limit is killed, and it can be told from other kills."""
    with limited(f"taken = b'x' * {LIMIT + 20}_000_000; input()") as process:
        assert process.wait(within(30.0)) == -signal.SIGKILL
    assert process.exceeded
    assert process.peak > LIMIT


def test_what_threads_only_reserve_does_not_count() -> None:
    """A worker with hundreds of threads and much memory, yet less than its limit, lives on."""
    with limited(f"{THREADS}\ntaken = b'x' * {LIMIT - 50}_000_000; input(); both.wait()") as process:
        wait_for(lambda: process.peak > LIMIT - 60, "the memory to be seen")
        process.communicate(b"\n", 30.0)
    assert process.returncode == 0
    assert not process.exceeded

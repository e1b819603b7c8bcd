"""A process keeps to one core, and leaves it if others need it."""

import os
import subprocess
import sys

import pytest

from tests.support.forked import ROOT
from tests.support.waiting import within
from worker.cli.cores import roomier

MOVES = """
import os, threading, time
from worker.cli.cores import Cores

threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
core = Cores().keep(0)
before = core.number
print(before, flush=True)
while core.number == before:
    time.sleep(0.1)
    core.look()
print({tuple(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")} == {(core.number,)})
"""
BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); [None for _ in iter(int, 1)]"


@pytest.mark.parametrize(
    ("share", "own", "better"),
    [
        ({0: 0.9, 1: 0.5}, 0.9, None),
        ({0: 1.0, 1: 0.1}, 0.5, 1),
        ({0: 1.0, 1: 0.9, 2: 0.2}, 0.5, 2),
        ({0: 1.0, 1: 0.4}, 0.5, 1),
        ({0: 1.0, 1: 0.6}, 0.5, None),
        ({0: 0.7, 1: 0.1}, 0.3, None),
        ({0: 1.0, 1: 1.0}, 0.5, None),
        ({0: 1.0}, 0.1, None),
        ({1: 0.1}, 0.5, None),
        ({}, 0.5, None),
    ],
    ids=[
        "its own work",
        "another on it",
        "the least used",
        "a database on the other",
        "less room",
        "room for both",
        "all in use",
        "one core",
        "core unknown",
        "system does not tell",
    ],
)
def test_a_process_leaves_a_core_that_others_need_more_than_another(
    share: dict[int, float], own: float, better: int | None
) -> None:
    """Two workers that have met on one core part, if another has room for one; one with a core to itself stays."""
    assert roomier(share, 0, own) == better


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a machine with one core")
def test_a_process_moves_with_all_its_threads() -> None:
    """A worker beside something else that is bound to its core moves to another, and leaves no thread behind."""
    with subprocess.Popen([sys.executable, "-c", MOVES], cwd=ROOT, stdout=subprocess.PIPE) as moves:
        try:
            assert moves.stdout is not None
            number = next(line for line in moves.stdout if line.strip().isdigit()).decode().strip()
            with subprocess.Popen([sys.executable, "-c", BUSY, number]) as busy:
                try:
                    assert moves.wait(within(60)) == 0
                finally:
                    busy.kill()
            assert moves.stdout.read().splitlines()[-1] == b"True"
        finally:
            moves.kill()

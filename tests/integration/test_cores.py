"""A process keeps to one core, and leaves it if others need it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked import ROOT
from tests.support.waiting import within
from worker.cli import cores
from worker.cli.cores import less_used

MOVES = """
import os, threading, time
from worker.cli import cores
from worker.cli.processes import Stop, wait_for_end

threading.Thread(target=threading.Event().wait, daemon=True).start()
cores.LOOK_SECONDS = 0.05
full, stop = cores.Cores().keep(0), Stop()
before, look = full.number, full.look
cores.seconds_in_use = lambda: {core: time.monotonic() * (core == before) for core in full._choice}
full.look = lambda: (look(), full.number == before or stop.set())
wait_for_end(stop, full)
print({tuple(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")} == {(full.number,)})
"""


@pytest.mark.parametrize(
    ("share", "own", "better"),
    [
        ({0: 0.9, 1: 0.5}, 0.9, None),
        ({0: 1.0, 1: 0.1}, 0.5, 1),
        ({0: 1.0, 1: 0.9, 2: 0.2}, 0.5, 2),
        ({0: 1.0, 1: 0.4}, 0.5, 1),
        ({0: 1.0, 1: 0.6}, 0.5, None),
        ({0: 0.9, 1: 0.3}, 0.65, None),
        ({0: 1.0, 1: 0.29}, 0.7, None),
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
        "more used",
        "hardly less used, with room here",
        "hardly less used",
        "room for both",
        "all in use",
        "one core",
        "core unknown",
        "system does not tell",
    ],
)
def test_a_process_leaves_a_full_core_of_which_others_take_more_than_of_another(
    share: dict[int, float], own: float, better: int | None
) -> None:
    """Two workers that have met on one core part, if another has room for one; one with a core to itself stays."""
    assert less_used(share, 0, own) == better


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a machine with one core")
def test_a_process_moves_with_all_its_threads() -> None:
    """A worker beside something else that is bound to its core moves to another, and leaves no thread behind."""
    moved = subprocess.run([sys.executable, "-c", MOVES], cwd=ROOT, capture_output=True, timeout=within(60), check=True)
    assert moved.stdout.splitlines()[-1] == b"True"


@pytest.mark.parametrize(
    "text", [b"", b"cpu0 1 2\n", b"cpu0 1 2 three 4 5 6 7 8\n", b"\xff\n", b"cpu0 1 2\xff\n", None]
)
def test_a_system_that_does_not_tell_stops_no_worker(
    text: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may show its own /proc/stat, or none."""
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_bytes(text)
    monkeypatch.setattr(cores, "_STAT", stat)
    assert set(cores.seconds_in_use()) <= {0}

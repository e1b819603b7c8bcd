"""The CPU and the memory of a contestant's processes, their children included."""

from collections.abc import Sequence
from pathlib import Path

import psutil


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time until now."""
    times = [process.cpu_times() for process in _with_children(pids)]
    return float(sum(time.user + time.system for time in times))


def machine_busy() -> float:
    """The share of all cores that was in use since the last call."""
    return float(psutil.cpu_percent(interval=None)) / 100


def peak_mebibytes(pids: Sequence[int]) -> float:
    """The most resident memory that each has had, added up."""
    return sum(_peak_kibibytes(process.pid) for process in _with_children(pids)) / 1024


def mebibytes(pids: Sequence[int]) -> float:
    """Resident memory now."""
    return float(sum(process.memory_info().rss for process in _with_children(pids))) / 2**20


def _with_children(pids: Sequence[int]) -> list[psutil.Process]:
    parents = [psutil.Process(pid) for pid in pids]
    return parents + [child for parent in parents for child in parent.children(recursive=True)]


def _peak_kibibytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

"""Cores: a worker process keeps to one of them, and moves to another that others use less.

One thread of a process at a time has the interpreter. On one core it finds its data where the last one left it; on
several each has to be woken from one core to the other.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import random, randrange
from time import monotonic, process_time

import structlog

LOOK_SECONDS = 2.0
# A process moves if its core is full, others take much of it, and less of another core is in use.
FULL, MUCH, LESS = 0.9, 0.25, 0.05
# Not every process moves that could: of two on one core one is to stay.
CHANCE = 0.5

_STAT, _CORE = Path("/proc/stat"), re.compile(r"cpu\d+ ")

Seconds = Mapping[int, float]
"""For each core how long it was in use."""

log = structlog.get_logger()


class Cores:
    """The cores that this process may use when it starts: all of a machine, or those of its cpuset.

    Made before the processes of a command are forked: they then take one core after the other. Empty but on Linux.
    """

    def __init__(self) -> None:
        try:
            self._cores = sorted(os.sched_getaffinity(0))
        except (AttributeError, OSError):  # another system, a sandbox
            self._cores = []
        # Other commands on this machine are to begin with another.
        self._first = randrange(len(self._cores) or 1)  # noqa: S311 - no secret

    def keep(self, place: int) -> "Core | None":
        """Bind the process of this place, from 0, to a core. Returns None if there is no choice, or it is forbidden."""
        if len(self._cores) < 2:
            return None
        core = Core(self._cores, self._cores[(self._first + place) % len(self._cores)])
        return core if core.is_kept else None


class Core:
    """The core that this process keeps to."""

    def __init__(self, choice: list[int], number: int) -> None:
        self._choice, self.number = choice, number
        self.is_kept = self._keep_to(number)
        self._seen = self._look()

    def look(self) -> None:
        """Move if others take this core and not another. Looks every two seconds at most."""
        if monotonic() < self._look_at:
            return
        (at, own, used), self._seen = self._seen, self._look()
        now, own_now, used_now = self._seen
        share = {core: (used_now[core] - used[core]) / (now - at) for core in used_now.keys() & used.keys()}
        better = less_used(share, self.number, (own_now - own) / (now - at))
        if better is not None and random() < CHANCE and self._keep_to(better):  # noqa: S311 - no secret
            self.number = better

    def _look(self) -> tuple[float, float, Seconds]:
        self._look_at = monotonic() + LOOK_SECONDS
        used = seconds_in_use()
        return monotonic(), process_time(), {core: used[core] for core in self._choice if core in used}

    def _keep_to(self, number: int) -> bool:
        """Bind all threads. Those that they start keep to it, too. Returns False if it is forbidden."""
        try:
            for _ in range(2):  # one that is not bound yet may start another meanwhile
                for thread in Path("/proc/self/task").iterdir():
                    with suppress(ProcessLookupError):  # it has ended
                        os.sched_setaffinity(int(thread.name), {number})
        except OSError:
            return False
        log.info("core.taken", core=number)
        return True


def less_used(share: Mapping[int, float], mine: int, own: float) -> int | None:
    """Return a core that is less in use than others use `mine`, of which this process has the share `own`; None = stay.

    `share`: how much of each core is in use, from 0 to 1.
    """
    others = share.get(mine, 0.0) - own
    if share.get(mine, 0.0) < FULL or others < MUCH:
        return None
    least = min(share.keys() - {mine}, key=lambda core: share[core], default=mine)
    return least if share[least] + LESS < others else None


def seconds_in_use() -> Seconds:
    """Read for how long each core was in use, by any process; empty if the system does not tell."""
    try:
        return dict(_core_line(line.split()) for line in _STAT.read_text().splitlines() if _CORE.match(line))
    except (OSError, ValueError):
        return {}


def _core_line(words: list[str]) -> tuple[int, float]:
    # The name, then ticks: user, nice, system; idle and iowait; irq, softirq, steal.
    return int(words[0][3:]), sum(map(int, [*words[1:4], *words[6:9]])) / os.sysconf("SC_CLK_TCK")

"""A process that ends once its memory exceeds a limit, as a container does under its own.

A thread looks at /proc: a cgroup with the memory controller needs rights that few test machines give, and RLIMIT_AS and
RLIMIT_DATA count the whole reserved stack of every thread, used or not. What counts is anonymous memory, which no
kernel can reclaim; pages of files, which a cgroup drops before it ends anybody, do not.
"""

import resource
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.005
MEBIBYTE = 1024 * 1024


class MemoryLimited(subprocess.Popen[bytes]):
    """A Popen with a limit in MiB. `exceeded` says whether that ended it, `peak` is the most seen, in MiB."""

    def __init__(self, arguments: Sequence[str], *, limit: int, **popen: Any) -> None:
        self.limit, self.peak, self.exceeded = limit, 0.0, False
        super().__init__(arguments, **popen)
        self._pages = Path(f"/proc/{self.pid}/statm")
        threading.Thread(target=self._watch, name=f"memory of {self.pid}", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while self.poll() is None:
            self.peak = max(self.peak, self._mebibytes())
            if self.peak > self.limit:
                self.exceeded = True
                self.kill()
                return
            pause.wait(LOOK_SECONDS)

    def _mebibytes(self) -> float:
        try:
            _, resident, of_files, *_ = map(int, self._pages.read_bytes().split())
        except (FileNotFoundError, ProcessLookupError):
            return 0.0  # it has just ended
        return (resident - of_files) * resource.getpagesize() / MEBIBYTE

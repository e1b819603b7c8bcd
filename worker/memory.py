"""Free memory is returned to the operating system, so that a few huge messages do not enlarge the process for good.

By default glibc keeps an arena for each of several threads, and raises the size above which memory is returned at once
to that of the largest block so far. On other C libraries nothing happens here.
"""

import ctypes

# Parameters of mallopt(3).
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE = 64 * 1024
ARENAS = 1

_libc = ctypes.CDLL(None)
_is_glibc = hasattr(_libc, "malloc_trim")


def keep_little() -> None:
    """Use one arena, and return large blocks at once. For a process that is a worker and nothing else."""
    if _is_glibc:
        _libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        _libc.mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return free memory to the operating system."""
    if _is_glibc:
        _libc.malloc_trim(0)

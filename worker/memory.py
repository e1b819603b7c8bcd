"""The memory of a worker's process: what is free is returned, and what stays is not looked through again and again.

A few huge messages do not enlarge the process for good. By default glibc keeps an arena for each of several threads,
and raises the size above which memory is returned at once to that of the largest block so far. On other C libraries
nothing is returned here.
"""

import ctypes
import gc

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


def leave_out_program() -> None:
    """Have the garbage collector pass over all that is there by now: modules, models and tables, which stay to the end.

    A full collection stops every thread while it looks at each object, of which a large message brings new ones.
    """
    gc.collect()
    gc.freeze()

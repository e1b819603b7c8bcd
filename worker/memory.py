"""Memory that is free goes back to the operating system: what a few huge messages needed is not kept for good.

By itself glibc keeps an arena for each of several threads, and raises the size above which memory is given back at once
to that of the largest piece that it has seen. Elsewhere than on glibc nothing happens here.
"""

import ctypes

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Parameters of mallopt(3)."""
LARGE = 64 * 1024
ARENAS = 1

_libc = ctypes.CDLL(None)
_is_glibc = hasattr(_libc, "malloc_trim")


def keep_little() -> None:
    """For a process that is a worker and nothing else: few arenas, and large pieces always on their own."""
    if _is_glibc:
        _libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        _libc.mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give back what is free."""
    if _is_glibc:
        _libc.malloc_trim(0)

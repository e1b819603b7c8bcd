"""Memory that is free goes back to the operating system: what a few huge messages needed is not kept for good.

glibc keeps freed memory in one arena a thread, and a worker has hundreds of threads.
"""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Give back what is free; where the C library is not glibc, it does as it likes."""
    if _trim is not None:
        _trim(0)

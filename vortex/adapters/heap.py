"""Makes all threads use one heap. By default glibc gives each thread its own arena, which keeps its free memory.

https://man7.org/linux/man-pages/man3/mallopt.3.html (M_ARENA_MAX).
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_one_heap() -> bool:
    """Make all threads allocate from one heap from now on. False where the C library has no such setting.

    Pages are decoded in one thread and compressed in others. One heap per thread costs up to 50 MiB more.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except (OSError, AttributeError):  # musl and macOS
        return False

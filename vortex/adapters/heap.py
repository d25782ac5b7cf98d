"""The C library's heap: one for all threads, and its free memory given back before large work.

By default glibc gives each thread its own arena, which keeps its free memory.

https://man7.org/linux/man-pages/man3/mallopt.3.html (M_ARENA_MAX), https://man7.org/linux/man-pages/man3/malloc_trim.3.html.
"""

from __future__ import annotations

import contextlib
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


def trim() -> None:
    """Give the heap's free memory back to the system; nothing where the C library has no such call.

    Other threads run meanwhile, but wait when they allocate: some ten milliseconds for 200 MiB.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

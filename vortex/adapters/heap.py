"""The C library's heap, kept as one: glibc gives threads heaps of their own, each of which keeps what is free in it.

https://man7.org/linux/man-pages/man3/mallopt.3.html (M_ARENA_MAX).
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_one_heap() -> bool:
    """Let all threads allocate from one heap, from now on; False where the C library has no such setting.

    Pages are decoded in one thread and compressed in others. With a heap each, up to 50 MiB more stay with a process.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except (OSError, AttributeError):  # musl and macOS
        return False

"""The system clock, and a thread pool for CPU-heavy pure functions."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class SystemClock:
    """The Clock port over the clocks of the machine."""

    def now_ms(self) -> int:
        """The wall clock, in epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        await asyncio.sleep(seconds)


class ThreadOffload:
    """The Offload port over a small thread pool. gzip and digests release the GIL, so they run in parallel."""

    def __init__(self, workers: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), thread_name_prefix="vortex")

    async def __call__(self, fn: Callable[..., T], /, *args: object) -> T:
        """Run `fn(*args)` in a thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    def close(self) -> None:
        """Stop the threads when they are idle."""
        self._pool.shutdown(wait=False, cancel_futures=True)

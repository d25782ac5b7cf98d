"""The clock and the thread pool of the machine."""

from __future__ import annotations

import threading
import time

from vortex.adapters.clock import SystemClock, ThreadOffload


async def test_system_clock_returns_epoch_milliseconds_and_monotonic_seconds() -> None:
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 60_000
    begun = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= begun


async def test_thread_offload_runs_a_function_in_another_thread() -> None:
    offload = ThreadOffload(1)
    assert await offload(lambda a, b: (a + b, threading.current_thread() is threading.main_thread()), 2, 3) == (
        5,
        False,
    )
    offload.close()

"""Virtual time: an event loop that never waits. If all tasks sleep, its clock jumps to the next wake-up time.

Runs are reproducible bit for bit: no threads, no sockets, no wall clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vortex.metrics import CounterMetric, GaugeMetric, HistogramMetric, Metric

T = TypeVar("T")


class Stuck(Exception):
    """All tasks wait for each other without a timer, or the run does not end: a real program would hang."""


_ENDLESS = 3_000_000
"""Iterations of the loop after which a run counts as endless; the longest runs have a tenth of this."""


class _JumpingSelector(selectors.BaseSelector):
    """Returns at once, and advances the loop's clock by the time that a real selector would have waited."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self.now = 0.0
        self._turns = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("no task can continue, and no timer is set")
        self._turns += 1
        if self._turns == _ENDLESS:
            raise Stuck(f"no end after {_ENDLESS} iterations of the loop, at {self.now:.0f} s")
        self.now += max(timeout, 0.0)
        return []

    def get_map(self) -> Any:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; `time()` starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time. Raises Stuck if it would hang."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """The Clock port over the running loop's virtual time; `skew_ms` is the error of the wall clock."""

    def __init__(self, epoch_ms: int = 1_700_000_000_000, skew_ms: int = 0) -> None:
        self.epoch_ms = epoch_ms
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """The wall clock."""
        return self.epoch_ms + self.skew_ms + int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        """Seconds of virtual time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        await asyncio.sleep(seconds)


async def in_place(fn: Callable[..., T], /, *args: object) -> T:
    """The Offload port without threads."""
    await asyncio.sleep(0)
    return fn(*args)


class NullMeter:
    """A Meter port that drops everything; wrong labels raise an error, as in Prometheus."""

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        """Nothing."""
        _check(metric, labels)

    def set(self, metric: GaugeMetric, value: float, **labels: str) -> None:
        """Nothing."""
        _check(metric, labels)

    def observe(self, metric: HistogramMetric, value: float, **labels: str) -> None:
        """Nothing."""
        _check(metric, labels)

    def forget(self, metric: Metric, **labels: str) -> None:
        """Nothing."""
        _check(metric, labels)


def _check(metric: Metric, labels: dict[str, str]) -> None:
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {tuple(labels)}")

"""Virtual time: an event loop that never waits. If all tasks sleep, its clock jumps to the next wake-up time.

Runs are reproducible bit for bit: no threads, no sockets, no wall clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar, TypeVarTuple

from vortex.metrics import CounterMetric, GaugeMetric, HistogramMetric, Metric

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Stuck(Exception):
    """All tasks wait for each other without a timer, or the run does not end: a real program would hang."""


_ENDLESS = 3_000_000
"""Iterations of the loop after which a run counts as endless; the longest runs have a tenth of this."""
_LONGEST_JUMP_S = 86_400.0
_SAME_TIME_S = 1e-9
"""Timers that are due within this time run in the same iteration."""
_MANY_TIMERS = 100
"""If more timers than this wait, the cancelled ones are dropped once they are the majority."""


class _Call(float):
    """A callback to run at a time, which is its value as a number: so a heap compares calls without Python code."""

    __slots__ = ("args", "callback", "context", "waits_in")
    callback: Callable[..., object] | None
    """None if it was cancelled."""
    args: tuple[Any, ...]
    context: Context
    waits_in: _Timers | None
    """None if it is due."""

    def cancel(self) -> None:
        """Do not run it."""
        if self.callback is not None:
            self.callback = None
            if self.waits_in is not None:
                self.waits_in.cancelled += 1

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.callback is None

    def when(self) -> float:
        """The loop's time at which it is due."""
        return float(self)


class _Timers(list[_Call]):
    """A heap of the calls whose time has not come."""

    cancelled = 0
    """About how many of them were cancelled."""

    def drop_cancelled(self) -> None:
        """Drop cancelled calls: the first ones, or all if they are many."""
        if len(self) > _MANY_TIMERS and self.cancelled / len(self) > 0.5:
            self[:] = [call for call in self if call.callback is not None]
            heapify(self)
            self.cancelled = 0
        while self and self[0].callback is None:
            heappop(self)
            self.cancelled -= 1


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; `time()` starts at 0.

    A simulation runs millions of short calls. So this loop has no debug mode, no selector and no threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        """Virtual seconds."""
        self._due: deque[_Call] = deque()
        self._timers = _Timers()
        self._turns = 0
        self._stopped = False

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def get_debug(self) -> bool:
        """No."""
        return False

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Run a coroutine."""
        return asyncio.Task(coro, loop=self, **options)

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Any:
        """Run a callback in the next iteration."""
        call = _Call()
        call.callback, call.args, call.waits_in = callback, args, None
        call.context = copy_context() if context is None else context
        self._due.append(call)
        return call

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        """Run a callback at a time."""
        call, timers = _Call(when), self._timers
        call.callback, call.args, call.waits_in = callback, args, timers
        call.context = copy_context() if context is None else context
        heappush(timers, call)
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        """Run a callback after a time."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def run_forever(self) -> None:
        """Run until `stop`."""
        global _running
        outer, _running = _running, self
        try:
            super().run_forever()
        finally:
            _running, self._stopped = outer, False

    def stop(self) -> None:
        """End `run_forever` after this iteration."""
        super().stop()
        self._stopped = True

    def _run_once(self) -> None:
        """Run iterations until `stop`. Raises Stuck."""
        due, timers = self._due, self._timers
        while True:
            if timers and (timers[0].callback is None or len(timers) > _MANY_TIMERS):
                timers.drop_cancelled()
            self._turns += 1
            if self._turns == _ENDLESS:
                raise Stuck(f"no end after {_ENDLESS} iterations of the loop, at {self.now:.0f} s")
            if not due and not self._stopped:
                if not timers:
                    raise Stuck("no task can continue, and no timer is set")
                self.now += min(max(0.0, timers[0] - self.now), _LONGEST_JUMP_S)
            end = self.now + _SAME_TIME_S
            while timers and timers[0] < end:
                call = heappop(timers)
                call.waits_in = None
                due.append(call)
            for _ in range(len(due)):
                call = due.popleft()
                if call.callback is None:
                    continue
                try:
                    call.context.run(call.callback, *call.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as problem:  # noqa: BLE001 - as every event loop does
                    self.call_exception_handler({"message": f"Exception in {call.callback!r}", "exception": problem})
            if self._stopped:
                return


_running: VirtualLoop | None = None
"""The loop that runs now: `asyncio.get_running_loop` asks the kernel for the process id, which is slow."""


def now() -> float:
    """Seconds of virtual time."""
    return _running.now if _running is not None else asyncio.get_running_loop().time()


async def sleep(seconds: float) -> None:
    """As `asyncio.sleep`."""
    loop = _running
    if loop is None or seconds <= 0:
        await asyncio.sleep(seconds)
        return
    over: asyncio.Future[None] = asyncio.Future(loop=loop)
    call = loop.call_at(loop.now + seconds, _set, over)
    try:
        await over
    finally:
        call.cancel()


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


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
        return self.epoch_ms + self.skew_ms + int(now() * 1000)

    def monotonic(self) -> float:
        """Seconds of virtual time."""
        return now()

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        await sleep(seconds)


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

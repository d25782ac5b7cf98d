"""Retries calls without limit, and reports failures that last to `vortex.health`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from vortex import metrics
from vortex.health import AT_ONCE, PATIENCE_S, Health, Reach
from vortex.ports import Clock, Denied, Meter, PortError, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST = 0.2  # the minimum: a shard allows five calls a second
_LONGEST = 20.0
_LONGEST_LOCAL = 5.0  # without credentials nothing is sent, so short pauses cost nothing
_DENIED = 30.0


class Retry:
    """Repeats a call until it succeeds: `Unavailable` with full-jitter backoff (0.2 s to 20 s), `Denied` every 30 s.

    A denial makes the process unready but keeps it alive, until an operator renews the credentials or corrects the
    policy (a final error there cost others data: Vector issue 18491). The process is also unready while a service is
    unreachable for long, or while one call fails for long although others succeed. Other errors pass through.
    """

    def __init__(self, clock: Clock, meter: Meter, health: Health, rng: Random, service: str = "service") -> None:
        self._clock, self._meter, self._health, self._rng = clock, meter, health, rng
        self._reaches: dict[str, Reach] = {}
        self._reach = self._reaches.setdefault(service, Reach(service, clock, health))

    def of(self, service: str) -> Retry:
        """The same for the calls of another service, whose reachability is tracked separately."""
        other = Retry(self._clock, self._meter, self._health, self._rng, service)
        other._reaches = self._reaches
        other._reach = self._reaches.setdefault(service, other._reach)
        return other

    @property
    def reaches(self) -> list[Reach]:
        """The services that were called."""
        return list(self._reaches.values())

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call()`. `what` names the call in logs, e.g. `read shard-0001`."""
        begun = self._clock.monotonic()
        try:
            result = await call()  # the usual case, without the cost of the code below
        except (Unavailable, Denied) as problem:
            try:
                result = await self._again(what, call, problem, begun)
            finally:
                self._health.good(what)  # also if it was cancelled, since nothing clears it later
        except PortError:
            self._reach.answered()
            raise
        self._health.good(what)
        self._reach.answered()
        return result

    async def pause(self, cause: str, seconds: float) -> None:
        """Wait before a call whose answer was of no use is made again; `cause` is counted."""
        self._meter.add(metrics.RETRIES, cause=cause)
        await self._clock.sleep(seconds)

    async def _again(
        self, what: str, call: Callable[[], Awaitable[T]], problem: Unavailable | Denied, begun: float
    ) -> T:
        failures, tried_at = 0, begun
        while True:
            failures += 1
            pause = self._pause(problem, failures)
            self._report(what, problem, failures, begun, tried_at)
            await self._clock.sleep(pause)
            tried_at = self._clock.monotonic()
            try:
                return await call()
            except (Unavailable, Denied) as another:
                problem = another

    def _pause(self, problem: Unavailable | Denied, failures: int) -> float:
        if isinstance(problem, Denied):
            return _DENIED
        longest = _LONGEST_LOCAL if problem.cause == "credentials" else _LONGEST
        return self._rng.uniform(_FIRST, min(longest, _FIRST * 2.0 ** min(failures, 10)))

    def _report(self, what: str, problem: Unavailable | Denied, failures: int, begun: float, tried_at: float) -> None:
        if isinstance(problem, Denied):
            self._meter.add(metrics.RETRIES, cause="denied")
            self._reach.replied()
            self._health.bad(what, str(problem), kind=self._reach.name)
            return
        self._meter.add(metrics.RETRIES, cause=problem.cause)
        others_succeed = not self._reach.failing
        self._reach.failed(problem, tried_at)
        if others_succeed and (lasts := self._clock.monotonic() - begun) >= PATIENCE_S:
            self._health.bad(
                what, f"has failed for {lasts / 60:.0f} min: {problem}", again=False, kind=self._reach.name
            )
        loud = failures >= 4 and problem.cause not in AT_ONCE
        if loud and (line := self._reach.due_line(what, problem)):
            log.warning("%s", line)
        else:
            log.debug("%s: retrying: %s", what, problem)


class Once(Retry):
    """A Retry without retries: a one-off command reports an error instead of waiting."""

    def __init__(self) -> None:
        """Needs no arguments."""

    def of(self, service: str) -> Retry:
        """Return itself."""
        return self

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call `call()` once."""
        return await call()

    async def pause(self, cause: str, seconds: float) -> None:
        """Do not wait."""

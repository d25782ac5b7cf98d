"""Retries calls without limit, and reports failures that last to `vortex.health`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

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
        failed: list[PortError] = [problem]
        tried_at = begun

        async def attempt() -> T:
            nonlocal tried_at
            if failed:
                raise failed.pop()
            tried_at = self._clock.monotonic()
            return await call()

        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            wait=self._wait,
            retry=retry_if_exception_type((Unavailable, Denied)),
            before_sleep=lambda state: self._report(what, state, begun, tried_at),
        )
        result: T = await retrying(attempt)
        return result

    def _wait(self, state: RetryCallState) -> float:
        problem = _problem(state)
        if isinstance(problem, Denied):
            return _DENIED
        longest = _LONGEST_LOCAL if isinstance(problem, Unavailable) and problem.cause == "credentials" else _LONGEST
        return self._rng.uniform(_FIRST, min(longest, _FIRST * 2.0 ** min(state.attempt_number, 10)))

    def _report(self, what: str, state: RetryCallState, begun: float, tried_at: float) -> None:
        problem = _problem(state)
        if isinstance(problem, Denied):
            self._meter.add(metrics.RETRIES, cause="denied")
            self._reach.replied()
            self._health.bad(what, str(problem), kind=self._reach.name)
            return
        assert isinstance(problem, Unavailable)
        self._meter.add(metrics.RETRIES, cause=problem.cause)
        others_succeed = not self._reach.failing
        self._reach.failed(problem, tried_at)
        if others_succeed and (lasts := self._clock.monotonic() - begun) >= PATIENCE_S:
            self._health.bad(
                what, f"has failed for {lasts / 60:.0f} min: {problem}", again=False, kind=self._reach.name
            )
        loud = state.attempt_number >= 4 and problem.cause not in AT_ONCE
        if loud and (line := self._reach.due_line(what, problem)):
            log.warning("%s", line)
        else:
            log.debug("%s: retrying: %s", what, problem)


def _problem(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


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

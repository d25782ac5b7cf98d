"""Retrying what may be retried, for ever, and telling the world while it lasts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from vortex.ports import Clock, Denied, Meter, PortError, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST = 0.2  # no sooner: a shard allows five calls a second
_LONGEST = 20.0
_DENIED = 30.0


class Health:
    """What stands in the way of readiness: a name, and what is wrong with it."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}

    def bad(self, name: str, detail: str) -> None:
        """Unready because of `name`, until `good`. Logged once, as an error."""
        if self._troubles.get(name) != detail:
            log.error("%s: %s", name, detail)
        self._troubles[name] = detail

    def good(self, name: str) -> None:
        """`name` is well again."""
        if self._troubles.pop(name, None) is not None:
            log.info("%s: well again", name)

    def report(self) -> dict[str, str]:
        """The troubles by name; empty when ready."""
        return dict(self._troubles)


class Retry:
    """Repeats a call until it succeeds: `Unavailable` with full-jitter backoff (0.2 s to 20 s), `Denied` every 30 s.

    A denial makes the process unready but keeps it alive: an expired credential or a policy mended by somebody ends
    it (a final error there cost others data: Vector issue 18491). Other errors pass through.
    """

    def __init__(self, clock: Clock, meter: Meter, health: Health, rng: Random) -> None:
        self._clock, self._meter, self._health, self._rng = clock, meter, health, rng

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call()`. `what` names it in logs, e.g. `read shard-0001`."""
        try:
            result = await call()  # nearly always enough, and the machinery below costs more than most calls
        except (Unavailable, Denied) as problem:
            result = await self._again(what, call, problem)
        self._health.good(what)
        return result

    async def _again(self, what: str, call: Callable[[], Awaitable[T]], problem: Unavailable | Denied) -> T:
        failed: list[PortError] = [problem]

        async def attempt() -> T:
            if failed:
                raise failed.pop()
            return await call()

        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            wait=self._wait,
            retry=retry_if_exception_type((Unavailable, Denied)),
            before_sleep=lambda state: self._tell(what, state),
        )
        result: T = await retrying(attempt)
        return result

    def _wait(self, state: RetryCallState) -> float:
        if isinstance(_problem(state), Denied):
            return _DENIED
        return self._rng.uniform(_FIRST, min(_LONGEST, _FIRST * 2.0 ** min(state.attempt_number, 10)))

    def _tell(self, what: str, state: RetryCallState) -> None:
        problem = _problem(state)
        if isinstance(problem, Denied):
            self._meter.add("vortex_retries_total", cause="denied")
            self._health.bad(what, str(problem))
            return
        self._meter.add("vortex_retries_total", cause=problem.cause if isinstance(problem, Unavailable) else "other")
        log.log(logging.WARNING if state.attempt_number >= 4 else logging.DEBUG, "%s: retrying: %s", what, problem)


def _problem(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


class Once(Retry):
    """No second try: a one-off command says what is wrong instead of waiting for it to pass."""

    def __init__(self) -> None:
        """Needs nothing."""

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """`call()` once."""
        return await call()

"""Retrying what may be retried, for ever, and telling the world while it lasts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from vortex import metrics
from vortex.ports import Clock, Denied, Meter, PortError, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST = 0.2  # no sooner: a shard allows five calls a second
_LONGEST = 20.0
_LONGEST_LOCAL = 5.0  # where there are no credentials, nothing is sent: it costs nobody anything to look soon
_DENIED = 30.0
PATIENCE_S = 180.0
"""For how long nothing may succeed before the process is unready: longer than throttling, a failover or a deployment at
AWS takes, shorter than what anybody should find out from an hour that does not close."""
_AT_ONCE = {"credentials", "clock"}
"""Causes that do not pass by waiting a little: the second failure in a row makes unready."""
_SAY_EVERY_S = 10.0
_IDLE_S = 120.0
"""Whoever tries does so more often: a longer time without failures was one without calls."""


class Health:
    """What stands in the way of readiness: a name, and what is wrong with it."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}

    def bad(self, name: str, detail: str, *, again: bool = True) -> None:
        """Unready because of `name`, until `good`. Logged once, and with `again` whenever the detail is another."""
        if name not in self._troubles or (again and self._troubles[name] != detail):
            log.error("%s: %s", name, detail)
        self._troubles[name] = detail

    def good(self, name: str) -> None:
        """`name` is well again."""
        if self._troubles.pop(name, None) is not None:
            log.info("%s: well again", name)

    def report(self) -> dict[str, str]:
        """The troubles by name; empty when ready."""
        return dict(self._troubles)


class Reach:
    """Whether a service is reached: unready when its calls have only failed for `PATIENCE_S`, ready with the next one
    that succeeds. Who makes no calls is not unready.
    """

    def __init__(self, name: str, clock: Clock, health: Health) -> None:
        self._name, self._clock, self._health = name, clock, health
        self._failing_since: float | None = None
        self._failed_at = float("-inf")
        self._said_at = float("-inf")

    def answered(self) -> None:
        """A call has succeeded."""
        if self._failing_since is not None:
            self._failing_since = None
            self._health.good(self._name)

    def failed(self, problem: PortError, begun: float) -> None:
        """An attempt that began at `begun` has failed, and will be made again."""
        now = self._clock.monotonic()
        idle, self._failed_at = now - self._failed_at > _IDLE_S, now
        if self._failing_since is None or idle:
            self._failing_since = begun
            return
        lasts = now - self._failing_since
        if lasts >= PATIENCE_S or (isinstance(problem, Unavailable) and problem.cause in _AT_ONCE):
            told = f"no call has succeeded for {lasts / 60:.0f} min; the last one: " if lasts >= PATIENCE_S else ""
            self._health.bad(self._name, f"{told}{problem}", again=False)

    @property
    def failing(self) -> bool:
        """Whether no call has succeeded since one failed."""
        return self._failing_since is not None

    def may_say(self) -> bool:
        """Whether it is time for another line in the log: two hundred shards are not to write two hundred."""
        now = self._clock.monotonic()
        if now - self._said_at < _SAY_EVERY_S:
            return False
        self._said_at = now
        return True


class Retry:
    """Repeats a call until it succeeds: `Unavailable` with full-jitter backoff (0.2 s to 20 s), `Denied` every 30 s.

    A denial makes the process unready but keeps it alive: an expired credential or a policy mended by somebody ends
    it (a final error there cost others data: Vector issue 18491). So does a service that is not reached for long, and a
    call that fails for long while others succeed. Errors of other kinds pass through.
    """

    def __init__(self, clock: Clock, meter: Meter, health: Health, rng: Random, service: str = "service") -> None:
        self._clock, self._meter, self._health, self._rng = clock, meter, health, rng
        self._reaches: dict[str, Reach] = {}
        self._reach = self._reaches.setdefault(service, Reach(service, clock, health))

    def of(self, service: str) -> Retry:
        """The same for the calls of another service, which is reached or not by itself."""
        other = Retry(self._clock, self._meter, self._health, self._rng, service)
        other._reaches = self._reaches
        other._reach = self._reaches.setdefault(service, other._reach)
        return other

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call()`. `what` names it in logs, e.g. `read shard-0001`."""
        begun = self._clock.monotonic()
        try:
            result = await call()  # nearly always enough, and the machinery below costs more than most calls
        except (Unavailable, Denied) as problem:
            try:
                result = await self._again(what, call, problem, begun)
            finally:
                self._health.good(what)  # also where it was given up: nobody would say so later
        except PortError:
            self._reach.answered()
            raise
        self._health.good(what)
        self._reach.answered()
        return result

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
            before_sleep=lambda state: self._tell(what, state, begun, tried_at),
        )
        result: T = await retrying(attempt)
        return result

    def _wait(self, state: RetryCallState) -> float:
        problem = _problem(state)
        if isinstance(problem, Denied):
            return _DENIED
        longest = _LONGEST_LOCAL if isinstance(problem, Unavailable) and problem.cause == "credentials" else _LONGEST
        return self._rng.uniform(_FIRST, min(longest, _FIRST * 2.0 ** min(state.attempt_number, 10)))

    def _tell(self, what: str, state: RetryCallState, begun: float, tried_at: float) -> None:
        problem = _problem(state)
        if isinstance(problem, Denied):
            self._meter.add(metrics.RETRIES, cause="denied")
            self._reach.answered()  # it was reached, and has said no to this one call
            self._health.bad(what, str(problem))
            return
        assert isinstance(problem, Unavailable)
        self._meter.add(metrics.RETRIES, cause=problem.cause)
        others_succeed = not self._reach.failing
        self._reach.failed(problem, tried_at)
        if others_succeed and (lasts := self._clock.monotonic() - begun) >= PATIENCE_S:
            self._health.bad(what, f"has failed for {lasts / 60:.0f} min: {problem}", again=False)
        loud = state.attempt_number >= 4 and problem.cause not in _AT_ONCE and self._reach.may_say()
        log.log(logging.WARNING if loud else logging.DEBUG, "%s: retrying: %s", what, problem)


def _problem(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


class Once(Retry):
    """No second try: a one-off command says what is wrong instead of waiting for it to pass."""

    def __init__(self) -> None:
        """Needs nothing."""

    def of(self, service: str) -> Retry:
        """Itself."""
        return self

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """`call()` once."""
        return await call()

"""Why the process is not ready, and how long each service has not answered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from vortex.core.wording import counted
from vortex.metrics import TROUBLES
from vortex.ports import Clock, PortError, Unavailable

log = logging.getLogger(__name__)

PATIENCE_S = 180.0
"""Seconds without a successful call after which the process is unready: longer than throttling, a failover or a
deployment at AWS takes, and short enough to alert operators before hours fail to close."""
SILENCE_S = 300.0
"""Seconds without any success after which it is unready though no call has failed: whatever the cause, work stands."""
AT_ONCE = {"credentials", "clock"}
"""Causes that do not pass quickly: the second failure in a row makes the process unready."""
_IDLE_S = 120.0
"""A longer time without failures means that no calls were made: retries come more often than this."""
_SUM_UP_S = 60.0
_SUM_UP_LONGEST_S = 3600.0
_BRIEF_S = 10.0
"""A shorter outage ends without a line in the log."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One reason. `kind` is one of `metrics.TROUBLES`; `since_ms` is epoch milliseconds."""

    name: str
    detail: str
    kind: str
    since_ms: int


class Health:
    """The reasons why the process is not ready: a name, what is wrong, and since when."""

    def __init__(self, now_ms: Callable[[], int] = lambda: 0) -> None:
        self._now_ms = now_ms
        self._troubles: dict[str, Trouble] = {}

    def bad(self, name: str, detail: str, *, again: bool = True, kind: str = "") -> None:
        """Unready because of `name`, until `good`. Logged once, and if `again` also when the detail changes."""
        known = self._troubles.get(name)
        if known is None or (again and known.detail != detail):
            log.error("%s: %s", name, detail)
        if known is None:
            self._troubles[name] = Trouble(name, detail, _kind(kind, name), self._now_ms())
        else:
            self._troubles[name] = replace(known, detail=detail)

    def good(self, name: str, summary: str = "recovered") -> None:
        """`name` has recovered."""
        if self._troubles.pop(name, None) is not None:
            log.info("%s: %s", name, summary)

    def report(self) -> dict[str, str]:
        """The problems by name; empty when ready."""
        return {name: one.detail for name, one in self._troubles.items()}

    def troubles(self) -> list[Trouble]:
        """The problems, the oldest first."""
        return sorted(self._troubles.values(), key=lambda one: (one.since_ms, one.name))


def _kind(*names: str) -> str:
    """The first that is a kind, or whose first word is; never a name of a shard or key."""
    words = [word for name in names for word in (name, name.partition(" ")[0])]
    return next((word for word in words if word in TROUBLES), "call")


class Reach:
    """Whether a service is reachable: unready after `PATIENCE_S` of only failed calls, ready after the next successful
    one. A service without calls stays ready, unless it is one that is always called (`look`).
    """

    def __init__(self, name: str, clock: Clock, health: Health) -> None:
        self.name = name
        self.succeeded_ms: int | None = None
        """When a call succeeded last, epoch milliseconds."""
        self._clock, self._health = clock, health
        self._failing_since: float | None = None
        self._failures = 0
        self._failed_at = float("-inf")
        self._alive_at = clock.monotonic()
        self._reported_at = float("-inf")
        self._unreported = 0
        self._pause = _SUM_UP_S

    def answered(self) -> None:
        """A call has succeeded."""
        self._alive_at, self.succeeded_ms = self._clock.monotonic(), self._clock.now_ms()
        self.replied()

    def replied(self) -> None:
        """The service is reachable, though it may have denied the call."""
        if self._failing_since is not None:
            lasted, self._failing_since = self._clock.monotonic() - self._failing_since, None
            summary = f"answers again after {times(self._failures, lasted)}"
            if self.name in self._health.report():
                self._health.good(self.name, summary)
            elif lasted >= _BRIEF_S:
                log.info("%s: %s", self.name, summary)

    def failed(self, problem: PortError, begun: float) -> None:
        """An attempt that began at `begun` has failed and will be repeated."""
        now = self._clock.monotonic()
        idle, self._failed_at = now - self._failed_at > _IDLE_S, now
        self._unreported += 1
        if self._failing_since is None or idle:
            self._failing_since, self._failures = begun, 1
            return
        self._failures += 1
        lasts = now - self._failing_since
        if lasts >= PATIENCE_S or (isinstance(problem, Unavailable) and problem.cause in AT_ONCE):
            prefix = f"no call has succeeded for {lasts / 60:.0f} min; the last one: " if lasts >= PATIENCE_S else ""
            self._health.bad(self.name, f"{prefix}{problem}", again=False)

    def look(self) -> None:
        """For a service that is called all the time: unready after `SILENCE_S` without a success."""
        silent = self._clock.monotonic() - self._alive_at
        if silent >= SILENCE_S and self.name not in self._health.report():
            self._failing_since = self._alive_at if self._failing_since is None else self._failing_since
            self._health.bad(self.name, f"no call has succeeded for {silent / 60:.0f} min", again=False)

    @property
    def failing(self) -> bool:
        """Whether no call has succeeded since the last failure."""
        return self._failing_since is not None

    def due_line(self, what: str, problem: Exception) -> str:
        """A log line for a failure if one is due, else empty: the first at once, then sums at growing intervals."""
        now = self._clock.monotonic()
        since = now - self._reported_at
        if since < self._pause:
            return ""
        fresh = since > 2 * _SUM_UP_LONGEST_S or self._unreported == 1 or self._reported_at < 0
        self._pause = _SUM_UP_S if fresh else min(2 * self._pause, _SUM_UP_LONGEST_S)
        number, self._unreported, self._reported_at = self._unreported, 0, now
        return f"{what}: retrying: {problem}" + ("" if fresh else f" ({self.name}: {times(number, since)})")


def times(failures: int, seconds: float) -> str:
    """How often calls failed, and in how long, e.g. `387 failed calls in 21 min`."""
    span = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"{counted(failures, 'failed call')} in {span}"

"""Waits after replies that cannot be right, a little longer each time, and counts refusals of a position."""

from __future__ import annotations

import logging

from vortex import metrics
from vortex.ports import Clock, InvalidPosition, Meter

log = logging.getLogger(__name__)

_REFUSALS = 60
"""Refusals of a position after which the shard is given up and needs operator action. With the pauses between them they
take nine minutes: the wrong replies of a service that is being repaired must not end a worker.
"""
_PAUSE_S = 1.0, 10.0
"""Seconds to wait after a malformed reply, and after many of them."""


class Malformed:
    """The malformed replies about one shard in a row; some of them are refusals of its position."""

    def __init__(self, name: str, clock: Clock, meter: Meter) -> None:
        """`name` is that of the shard, for the log."""
        self._name, self._clock, self._meter = name, clock, meter
        self._replies = self._refusals = 0

    def page(self, *, followed: bool) -> None:
        """A page was read; `followed` if it has a next iterator."""
        self._refusals = 0
        if followed:
            self._replies = 0

    def refused(self, problem: InvalidPosition) -> None:
        """The position was refused. Raises `problem` if that came too often."""
        self._refusals += 1
        if self._refusals >= _REFUSALS:
            raise problem

    async def pause(self, what: str) -> None:
        """A reply is malformed, as `what` says: log it, and wait."""
        self._replies += 1
        first, longest = _PAUSE_S
        seconds = min(longest, first * 2.0 ** min(self._replies - 1, 10))
        self._meter.add(metrics.RETRIES, cause="malformed")
        if (number := self._replies) & (number - 1) == 0:  # the first, the second, the fourth, ...
            log.warning(
                "%s: a malformed reply: %s; asking again in %.0f s (%d in a row)", self._name, what, seconds, number
            )
        await self._clock.sleep(seconds)

"""Shares the numbered pieces of a plan between workers; the planner also does overdue pieces of other workers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from vortex.ports import Clock

log = logging.getLogger(__name__)

Doing = tuple[Callable[[int], Awaitable[bool]], Callable[[int], Awaitable[object]]]
"""Whether piece i is done, and how to do it."""

ASK_S = 1.0
PATIENCE_S = 30.0
_SLOWER = 3
"""A piece of another worker is waited for `PATIENCE_S`, plus this many times the work on the own pieces."""


@dataclass(slots=True)
class Sharing:
    """Assignments are advice: each piece is a function of the plan and the logs, so any worker may do it."""

    clock: Clock
    me: str
    leaving: bool = False
    """Set when this process stops: it then waits for no other worker."""
    waited_s: float = 0.0
    """Seconds in which this worker waited for others so far: an own piece may have pieces of others within."""

    async def own(self, takers: Sequence[str], doing: Doing) -> None:
        """Do this worker's pieces that are not done yet."""
        has, do = doing
        for number, taker in enumerate(takers):
            if taker == self.me and not await has(number):
                await do(number)

    async def all(
        self,
        what: str,
        takers: Sequence[str],
        doing: Doing,
        workers: Callable[[], Sequence[str]],
        *,
        together: bool = False,
    ) -> bool:
        """Ensure that every piece is done. False if this process stops before.

        `together`: every taker calls this, so they share out the pieces of one that has left.
        """
        begun, waited, (has, do) = self.clock.monotonic(), self.waited_s, doing
        await self.own(takers, doing)
        now = self.clock.monotonic()
        until = now + PATIENCE_S + _SLOWER * (now - begun - (self.waited_s - waited))
        for number, taker in enumerate(takers):
            done = await has(number)
            while not done:
                if self.leaving:
                    return False
                if self._stands_in(number, takers, workers(), together) or self.clock.monotonic() >= until:
                    log.info("%s %d of %s is overdue; doing it here", what, number, taker)
                    await do(number)
                    done = await has(number)
                else:
                    done = await self._later(has, number)
        return True

    async def _later(self, has: Callable[[int], Awaitable[bool]], number: int) -> bool:
        asked = self.clock.monotonic()
        await self.clock.sleep(ASK_S)
        done = await has(number)
        self.waited_s += self.clock.monotonic() - asked
        return done

    def _stands_in(self, number: int, takers: Sequence[str], workers: Sequence[str], together: bool) -> bool:
        """Whether this worker does the piece of one that has left."""
        if takers[number] in workers:
            return False
        there = [taker for taker in takers if taker in workers] if together else ()
        return not there or there[number % len(there)] == self.me

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
"""A piece of another worker is waited for `PATIENCE_S`, plus this many times the duration of the own pieces."""


@dataclass(slots=True)
class Sharing:
    """Assignments are advice: each piece is a function of the plan and the logs, so any worker may do it."""

    clock: Clock
    me: str
    leaving: bool = False
    """Set when this process stops: it then waits for no other worker."""

    async def own(self, takers: Sequence[str], doing: Doing) -> None:
        """Do this worker's pieces that are not done yet."""
        has, do = doing
        for number, taker in enumerate(takers):
            if taker == self.me and not await has(number):
                await do(number)

    async def all(self, what: str, takers: Sequence[str], doing: Doing, workers: Callable[[], Sequence[str]]) -> bool:
        """Ensure that every piece is done. False if this process stops before."""
        begun, (has, do) = self.clock.monotonic(), doing
        await self.own(takers, doing)
        now = self.clock.monotonic()
        until = now + PATIENCE_S + _SLOWER * (now - begun)
        for number, taker in enumerate(takers):
            while not await has(number):
                if self.leaving:
                    return False
                if self.clock.monotonic() >= until or taker not in workers():
                    log.info("%s %d of %s is overdue; doing it here", what, number, taker)
                    await do(number)
                else:
                    await self.clock.sleep(ASK_S)
        return True

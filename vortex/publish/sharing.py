"""Work on a plan that is shared out by number: one's own, and as planner those pieces, too, that nobody did in time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from vortex.ports import Clock

log = logging.getLogger(__name__)

Doing = tuple[Callable[[int], Awaitable[bool]], Callable[[int], Awaitable[None]]]
"""Whether piece i is done, and how to do it."""

ASK_S = 1.0
PATIENCE_S = 30.0
_SLOWER = 3
"""A piece is waited for `PATIENCE_S`, and that many times as long as one's own took."""


@dataclass(slots=True)
class Sharing:
    """Who takes which piece is advice: each is a function of the plan and the logs, so anybody may do it."""

    clock: Clock
    me: str
    leaving: bool = False
    """Set when this process stops: then nobody is waited for."""

    async def own(self, takers: Sequence[str], doing: Doing) -> None:
        """Do the pieces that are this worker's, and not done yet."""
        has, do = doing
        for number, taker in enumerate(takers):
            if taker == self.me and not await has(number):
                await do(number)

    async def all(self, what: str, takers: Sequence[str], doing: Doing, workers: Callable[[], Sequence[str]]) -> bool:
        """See to it that every piece is done; False where this process left before the end."""
        begun, (has, do) = self.clock.monotonic(), doing
        await self.own(takers, doing)
        now = self.clock.monotonic()
        until = now + PATIENCE_S + _SLOWER * (now - begun)
        for number, taker in enumerate(takers):
            while not await has(number):
                if self.leaving:
                    return False
                if self.clock.monotonic() >= until or taker not in workers():
                    log.info("%s %d, which %s was to take, is done here", what, number, taker)
                    await do(number)
                else:
                    await self.clock.sleep(ASK_S)
        return True

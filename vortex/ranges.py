"""Carrying out the ranges of a plan: one's own, and as planner those, too, that nobody did in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from vortex.core.planning import LogView, Plan
from vortex.core.publication import PublishedObject, objects
from vortex.core.ranges import Part, shares_of, taken_by
from vortex.journal import Journal
from vortex.objects import ObjectWriter, batches
from vortex.ports import Clock, Offload

log = logging.getLogger(__name__)

_ASK_S = 1.0
_PATIENCE_S = 30.0
_SLOWER = 3
"""A range is waited for `_PATIENCE_S`, and that many times as long as one's own took."""


class Ranges:
    """A plan of one range is carried out in one piece; of several, each leaves its `done-<range>.json`."""

    def __init__(self, journal: Journal, clock: Clock, offload: Offload, writer: ObjectWriter, me: str) -> None:
        self.leaving = False
        """Set when this process stops: then nobody is waited for."""
        self._journal, self._clock, self._offload, self._writer, self._me = journal, clock, offload, writer, me

    async def own(self, plan: Plan, views: Mapping[str, LogView]) -> None:
        """Carry out the ranges that the plan gives this worker."""
        for number in taken_by(plan, self._me):
            if not await self._journal.has_part(plan.k, number):
                await self._leave_part(plan, views, number)

    async def all(
        self, plan: Plan, views: Mapping[str, LogView], workers: Callable[[], Sequence[str]]
    ) -> list[PublishedObject] | None:
        """Every object of the plan, by the help of the other workers; None where this process left before the end."""
        if plan.ranges == 1:
            return await self._carry_out(plan, views, 0)
        begun = self._clock.monotonic()
        await self.own(plan, views)
        now = self._clock.monotonic()
        until = now + _PATIENCE_S + _SLOWER * (now - begun)
        published: list[PublishedObject] = []
        for number, taker in enumerate(plan.takers or [self._me] * plan.ranges):
            while not await self._journal.has_part(plan.k, number):
                if self.leaving:
                    return None
                if self._clock.monotonic() >= until or taker not in workers():
                    log.info("plan %d: range %d, which %s was to take, is done here", plan.k, number, taker)
                    await self._leave_part(plan, views, number)
                else:
                    await self._clock.sleep(_ASK_S)
            published += (await self._journal.part(plan.k, number)).objects
        return published

    async def _leave_part(self, plan: Plan, views: Mapping[str, LogView], number: int) -> None:
        published = await self._carry_out(plan, views, number)
        await self._journal.put_part(Part(k=plan.k, range=number, objects=published))

    async def _carry_out(self, plan: Plan, views: Mapping[str, LogView], number: int) -> list[PublishedObject]:
        published: list[PublishedObject] = []
        chosen, of = shares_of(plan, views, number)
        for share in chosen:
            for batch in batches(await self._offload(objects, plan, views, share, of)):
                published += await self._writer.write(batch, plan.small)
        return published

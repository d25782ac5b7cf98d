"""What a planner learns about retired shards, to forget them (`vortex.core.publish.forgetting`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set

from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.publish.forgetting import End, end_of, forgetting
from vortex.core.publish.plan import LogView, Plan, live_and_retired
from vortex.log.store import LogStore
from vortex.ports import Clock, NotFound, PortError, Stream

_MARGINS = 24
"""One in so many parts of the stream's retention: for so long a shard must be missing from the listings, and so much
more than the retention must have passed since its end."""


class Forgetter:
    """Remembers how retired logs ended, and since when the stream does not list their shards."""

    def __init__(self, log_store: LogStore, clock: Clock, stream: Stream | None) -> None:
        """Without a stream nothing is forgotten."""
        self._log_store, self._clock, self._stream = log_store, clock, stream
        self._ends: dict[str, End] = {}
        self._absent: dict[str, float] = {}
        """By retired shard with only its last segment left, since when no listing has had it; monotonic seconds."""
        self._retention_ms = 0

    def saw(self, views: Mapping[str, LogView]) -> None:
        """Note how these logs have ended."""
        for shard, view in views.items():
            if view.newest is not None and view.newest.ended:
                self._ends[shard] = end_of(view.newest)

    async def look(self, plan: Plan, clean: Set[str]) -> None:
        """Learn about the retired shards of a plan; of the log of a `clean` one only the last segment is left."""
        live, retired = live_and_retired(plan)
        self._ends = {shard: end for shard, end in self._ends.items() if shard in retired or shard in live}
        if self._stream is None or not retired:
            return
        await asyncio.gather(*(self._read_end(shard, n) for shard, n in retired.items() if shard not in self._ends))
        try:
            self._retention_ms = (await self._stream.describe()).retention_ms
            old = [one for one in clean if one in retired and one in self._ends and self._is_old(one, plan.upto)]
            listed = {shard.id for shard in await self._stream.list_shards()} if old else set[str]()
        except PortError:
            return  # the next clean-up asks again
        now = self._clock.monotonic()
        self._absent = {shard: self._absent.get(shard, now) for shard in old if shard not in listed}

    async def _read_end(self, shard: str, n: int) -> None:
        try:
            self._ends[shard] = end_of((await self._log_store.head(shard, n)).footer)
        except (NotFound, CorruptSegment, OtherVersion):
            return  # nothing reads this segment now; without it nothing is forgotten

    def without_forgotten(self, plan: Plan, views: Mapping[str, LogView]) -> Plan:
        """A new plan, made of these logs, without the shards that it may forget."""
        self.saw(views)
        least = self._clock.monotonic() - self._retention_ms / _MARGINS / 1000
        absent = {shard for shard, since in self._absent.items() if since <= least}
        return forgetting(plan, views, self._ends, absent, self._age_ms) if absent else plan

    @property
    def _age_ms(self) -> int:
        return self._retention_ms + self._retention_ms // _MARGINS

    def _is_old(self, shard: str, upto: int) -> bool:
        return self._ends[shard].closed_before + self._age_ms <= upto

"""The stream as one process sees it: what goes wrong with its calls and in the replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeVar

import msgspec

from simulation import vtime
from simulation.memstream import StreamView
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import Page, Position, Record, ShardInfo, StreamInfo
from vortex.ports import Unavailable

if TYPE_CHECKING:  # it makes these
    from simulation.process import Process

T = TypeVar("T")


class ProcessStream:
    """The stream as the process sees it: with slow and failing calls, and only while the process runs."""

    def __init__(self, process: Process, view: StreamView, rng: Random) -> None:
        self._process, self._view, self._rng = process, view, rng
        self._next_wrong_in = 0
        # Of their own: other faults stay as they are.
        self._times, self._lags = Random(f"arrival times {process.owner}"), Random(f"lags {process.owner}")

    async def describe(self) -> StreamInfo:
        """See the port."""
        await self._before("describe")
        return await self._after(await self._view.describe())

    async def server_time(self) -> int:
        """See the port."""
        await self._before("server_time")
        return await self._after(self._date(await self._view.server_time()))

    async def list_shards(self) -> list[ShardInfo]:
        """See the port."""
        await self._before("list_shards")
        listed, conditions = await self._view.list_shards(), self._process.world.conditions
        if conditions.occurs("stream.stale_list", self._rng):
            listed = [msgspec.structs.replace(info, end_sequence=None) for info in listed]
        if conditions.occurs("stream.short_list", self._rng):
            listed.pop(self._rng.randrange(len(listed)))
        return await self._after(listed)

    async def iterator(self, shard: str, position: Position) -> str | None:
        """See the port."""
        await self._before(f"iterator {shard}")
        found = await self._after(await self._view.iterator(shard, position))
        if self._process.world.conditions.occurs("stream.no_iterator", self._rng):
            self._process.say(f"iterator {shard}: none in the reply")
            return None
        return found

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """See the port."""
        await self._before(f"read {shard}")
        self._process.world.observer.read(self._process, shard)
        page = await self._after(await self._view.read(shard, iterator, limit))
        true = page.records
        page = replace(page, server_ms=self._date(page.server_ms), records=self._timed(shard, true))
        if page.iterator is not None and self._process.world.conditions.occurs("stream.false_end", self._rng):
            self._process.say(f"read {shard}: no next iterator, a false end")
            page = replace(page, iterator=None)
        # Without arrival times the lag tells when records arrived; one of the two must be true.
        timed = page.records is true and len(true) > 0
        if timed and page.behind_ms and self._process.world.conditions.occurs("stream.no_lag", self._lags):
            self._process.say(f"read {shard}: no lag, although records are left")
            page = replace(page, behind_ms=0)
        if page.records:
            self._process.say(f"read {shard}: {page.records[0].sequence}..{page.records[-1].sequence}")
        elif page.iterator is None:
            self._process.say(f"read {shard}: its end, children {[child.id for child in page.children]}")
        return page

    def _timed(self, shard: str, records: Sequence[Record]) -> Sequence[Record]:
        """The records, perhaps all or some of them with impossible arrival times."""
        process, rng = self._process, self._times
        if not records or not process.world.conditions.occurs("stream.no_arrivals", rng):
            return records
        share = rng.choice((1.0, 1.0, 0.5))
        impossible = rng.choice((0.0, -1.0, 1e300, process.world.epoch_ms / 1000 + rng.uniform(1, 400) * 86_400))
        out = [one if rng.random() >= share else msgspec.structs.replace(one, arrival=impossible) for one in records]
        wrong = [int(new.sequence) for new, old in zip(out, records, strict=True) if new is not old]
        process.say(f"read {shard}: {len(wrong)} of {len(records)} records arrived at {impossible}")
        process.world.observer.untimed(shard, wrong)
        return out

    def _date(self, date_ms: int) -> int:
        """The reply's Date, perhaps with a proxy's wrong clock; a single wrong Date never follows another one soon."""
        process, rng = self._process, self._rng
        date_ms += process.world.dates_off_ms
        self._next_wrong_in -= 1
        if self._next_wrong_in <= 0 and process.world.conditions.occurs("stream.single_wrong_date", rng):
            self._next_wrong_in = 4
            off = int(rng.choice((600_000, 7_200_000, 172_800_000)) * rng.uniform(-1, 1)) // 1000 * 1000
            process.say(f"a reply whose Date is wrong by {off / 1000:+.0f} s")
            return date_ms + off
        return date_ms

    async def _before(self, what: str) -> None:
        process, conditions = self._process, self._process.world.conditions
        await process.gate(what)
        await vtime.sleep(self._rng.uniform(0.001, 0.03))
        if conditions.occurs("stream.slow", self._rng):
            process.delayed = True
            await vtime.sleep(self._rng.choice((2.0, 10.0, 400.0)) * self._rng.random())
        if process.halted:
            await process.awake()
        if conditions.occurs("stream.error", self._rng):
            raise Unavailable(what, "throttled")

    async def _after(self, reply: T) -> T:
        if self._process.halted:
            await self._process.awake()
        return reply

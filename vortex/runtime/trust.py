"""What a service says, as far as it can be believed: one odd reply closes nothing, and ends nothing.

`TrustedClock` is the time that may move a bound, `TrustedStream` a stream whose listings and descriptions have been
asked for again where they are odd.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from vortex import metrics
from vortex.core.clocks import OLDEST_MS, Clocks, Times
from vortex.core.decode.records import Records
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.layout import moment
from vortex.core.model import HASH_KEYS, Page, Position, ShardInfo, StreamInfo
from vortex.ports import Clock, Denied, Meter, Stream, Unavailable
from vortex.retry import Health

_SURE_AFTER = 3
"""So many replies in a row must agree on what contradicts earlier ones,"""
_SURE_S = 10.0
"""over so many seconds: a replica that lags behind for a moment is not believed."""


class TrustedClock:
    """The Clock port; `now_ms` is the time that the local clock and the service have both reached."""

    def __init__(self, clock: Clock, health: Health, meter: Meter) -> None:
        self._clock, self._health, self._meter = clock, health, meter
        self._clocks = Clocks()
        self._odd_at: float | None = None
        self._told_at = -1.0

    @property
    def sure(self) -> bool:
        """Whether enough replies were heard."""
        return self._clocks.sure

    def now_ms(self) -> int:
        """Epoch milliseconds; nothing may be closed or deleted for being older than a later time.

        0 before enough replies were heard: then nothing is over yet.
        """
        if not self.sure:
            return 0
        return self._clocks.times(self._clock.now_ms(), self._clock.monotonic()).earliest

    def monotonic(self) -> float:
        """Seconds, never going back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Give way for `seconds`."""
        await self._clock.sleep(seconds)

    def heard(self, date_ms: int) -> Times:
        """A reply of the service has come, with this Date; what may be trusted of it. Tells of clocks that disagree."""
        wall, at = self._clock.now_ms(), self._clock.monotonic()
        clocks = self._clocks
        clocks.heard(date_ms, at)
        if at - self._told_at >= 1:  # pages come by the hundred a second
            self._told_at = at
            self._meter.set(metrics.CLOCK_SKEW, abs(clocks.ahead_ms(wall, at)) / 1000)
        if clocks.odd_at != self._odd_at:
            self._odd_at = clocks.odd_at
            self._meter.add(metrics.ODD_DATES)
        if trouble := clocks.trouble(wall, at):
            self._health.bad("clock", trouble)
        else:
            self._health.good("clock")
        return clocks.times(wall, at, date_ms)


class TrustedStream:
    """A `ports.Stream` over another. What contradicts earlier replies is `malformed` until it was said often enough."""

    def __init__(self, stream: Stream, clock: TrustedClock) -> None:
        self._stream, self._clock = stream, clock
        self._asking = asyncio.Lock()
        self._info: StreamInfo | None = None
        self._shards: set[str] = set()
        """Every shard that was listed."""
        self._odd_info = _Again()
        self._odd_list = _Again()

    async def describe(self) -> StreamInfo:
        """See `ports.Stream`. Raises Denied once it is sure that the stream was deleted and made anew."""
        found = await self._stream.describe()
        if self._info is None:
            again = await self._stream.describe()
            if found != again:  # a wrong creation time would begin the stream anew
                raise Unavailable(f"stream {found.name}: described as {found}, then as {again}", "malformed")
            self._info = found
        known = self._info
        if found == known:
            self._odd_info.forget()
            return found
        if not self._odd_info.sure(found, self._clock.monotonic()):
            raise Unavailable(f"stream {known.name}: described as {found}, before as {known}", "malformed")
        if found.created_ms != known.created_ms:
            raise Denied(
                f"stream {known.name} was deleted and created again at {moment(found.created_ms):%FT%TZ}; this worker "
                f"reads the one of {moment(known.created_ms):%FT%TZ}. Restart Vortex to read the new one"
            )
        self._info = found
        return found

    async def server_time(self) -> int:
        """Epoch milliseconds: what the service and the local clock have both reached."""
        self._clock.heard(await self._stream.server_time())
        await self._hear()
        return self._clock.now_ms()

    async def list_shards(self) -> list[ShardInfo]:
        """See `ports.Stream`. A shard that was listed before is missing once three replies, over 10 s, leave it out."""
        listed = await self._stream.list_shards()
        found = {shard.id for shard in listed}
        if not self._shards and found != {shard.id for shard in await self._stream.list_shards()}:
            raise Unavailable("list shards: two replies differ", "malformed")
        if not _covered(listed):
            raise Unavailable("list shards: no open shard has some of the hash keys", "malformed")
        missing = sorted(self._shards - found)
        if missing and not self._odd_list.sure(missing, self._clock.monotonic()):
            raise Unavailable(f"list shards: {', '.join(missing[:5])} left out, listed before", "malformed")
        self._odd_list.forget()
        self._shards = found
        return listed

    async def iterator(self, shard: str, position: Position) -> str | None:
        """See `ports.Stream`."""
        return await self._stream.iterator(shard, position)

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """See `ports.Stream`; the page's times are those that may be trusted."""
        await self._hear()
        page = await self._stream.read(shard, iterator, limit)
        if not 0 <= page.behind_ms <= OLDEST_MS:
            raise Unavailable(f"{self._of(shard)}: {page.behind_ms} ms behind the latest record", "malformed")
        if not Records.of(page.records).ordered:
            raise Unavailable(f"{self._of(shard)}: sequence numbers that are none, or out of order", "malformed")
        times = self._clock.heard(page.server_ms)
        return Page(page.records, page.iterator, page.behind_ms, times.latest, page.children, page.size, times.earliest)

    def _of(self, shard: str) -> str:
        return f"read shard {shard} of {self._info.arn if self._info else 'the stream'}"

    async def _hear(self) -> None:
        """Enough replies, before anything is made of a Date."""
        if self._clock.sure:
            return
        async with self._asking:
            while not self._clock.sure:
                self._clock.heard(await self._stream.server_time())


class _Again:
    """Counts how often, and since when, the same odd thing was said."""

    def __init__(self) -> None:
        self._what: object = None
        self._times, self._since = 0, 0.0

    def sure(self, what: object, now: float) -> bool:
        """Whether it was said often enough, and for long enough; this time included."""
        if what != self._what:
            self._what, self._times, self._since = what, 0, now
        self._times += 1
        return self._times >= _SURE_AFTER and now - self._since >= _SURE_S

    def forget(self) -> None:
        """It was not said again."""
        self._what = None


def _covered(listed: Iterable[ShardInfo]) -> bool:
    """Whether the open shards have every hash key: at any time somebody takes each record."""
    reached = 0
    for start, end in sorted((shard.start_hash, shard.end_hash) for shard in listed if shard.end_sequence is None):
        if start > reached:
            return False
        reached = max(reached, end + 1)
    return reached >= HASH_KEYS

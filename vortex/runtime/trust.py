"""Checks replies of the service for plausibility: one wrong reply closes nothing, and ends nothing.

`TrustedClock` is the time that may move a bound. `TrustedStream` is a stream that repeats listings and descriptions if
they contradict earlier ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from vortex import metrics
from vortex.core.clocks import OLDEST_MS, Clocks, Times
from vortex.core.decode.records import Records
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.layout import moment
from vortex.core.model import HASH_KEYS, Page, Position, ShardInfo, StreamInfo
from vortex.health import Health
from vortex.ports import Clock, Denied, Meter, Stream, Unavailable

_CONFIRMATIONS = 3
"""Replies in a row that must agree before they override earlier ones,"""
_CONFIRM_S = 10.0
"""over at least this many seconds, so that a replica that lags for a moment is not believed."""


class TrustedClock:
    """The Clock port; `now_ms` is a time that both the local clock and the service have reached."""

    def __init__(self, clock: Clock, health: Health, meter: Meter) -> None:
        self._clock, self._health, self._meter = clock, health, meter
        self._clocks = Clocks()
        self._wrong_at: float | None = None
        self._reported_at = -1.0

    @property
    def sure(self) -> bool:
        """Whether enough replies were received."""
        return self._clocks.sure

    def now_ms(self) -> int:
        """Epoch milliseconds; nothing may be closed or deleted for being older than a later time.

        0 before enough replies were received: then no period is over.
        """
        if not self.sure:
            return 0
        return self._clocks.times(self._clock.now_ms(), self._clock.monotonic()).earliest

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        await self._clock.sleep(seconds)

    def heard(self, date_ms: int) -> Times:
        """Process the Date of a reply and return the times that can be trusted. Reports clocks that disagree."""
        wall, at = self._clock.now_ms(), self._clock.monotonic()
        clocks = self._clocks
        clocks.heard(date_ms, at)
        if at - self._reported_at >= 1:  # there may be hundreds of pages a second
            self._reported_at = at
            self._meter.set(metrics.CLOCK_SKEW, abs(clocks.ahead_ms(wall, at)) / 1000)
        if clocks.wrong_at != self._wrong_at:
            self._wrong_at = clocks.wrong_at
            self._meter.add(metrics.ODD_DATES)
        if trouble := clocks.trouble(wall, at):
            self._health.bad("clock", trouble)
        else:
            self._health.good("clock")
        return clocks.times(wall, at, date_ms)


class TrustedStream:
    """A `ports.Stream` over another one. A reply that contradicts earlier ones is `malformed` until confirmed."""

    def __init__(self, stream: Stream, clock: TrustedClock) -> None:
        self._stream, self._clock = stream, clock
        self._asking = asyncio.Lock()
        self._info: StreamInfo | None = None
        self._shards: set[str] = set()
        """The shards of the last accepted listing."""
        self._new_info = _Confirmation()
        self._short_list, self._one_parent = _Confirmation(), _Confirmation()

    async def describe(self) -> StreamInfo:
        """See `ports.Stream`. Raises Denied when it is confirmed that the stream was deleted and created again."""
        found = await self._stream.describe()
        if self._info is None:
            again = await self._stream.describe()
            if found != again:  # a wrong creation time would start the stream from the beginning
                raise Unavailable(f"stream {found.name}: described as {found}, then as {again}", "malformed")
            self._info = found
        known = self._info
        if found == known:
            self._new_info.reset()
            return found
        if not self._new_info.confirmed(found, self._clock.monotonic()):
            raise Unavailable(f"stream {known.name}: described as {found}, before as {known}", "malformed")
        if found.created_ms != known.created_ms:
            raise Denied(
                f"stream {known.name} was deleted and created again at {moment(found.created_ms):%FT%TZ}; this worker "
                f"reads the one of {moment(known.created_ms):%FT%TZ}. Restart Vortex to read the new one"
            )
        self._info = found
        return found

    async def server_time(self) -> int:
        """Epoch milliseconds: a time that both the service and the local clock have reached."""
        self._clock.heard(await self._stream.server_time())
        await self._hear()
        return self._clock.now_ms()

    async def list_shards(self) -> list[ShardInfo]:
        """See `ports.Stream`. A listed shard counts as missing after three replies without it, over 10 s."""
        listed = await self._stream.list_shards()
        found = {shard.id for shard in listed}
        # The first listing decides for good which shards are read. So two must be equal in all that they say.
        if not self._shards and _by_id(listed) != _by_id(await self._stream.list_shards()):
            raise Unavailable("list shards: two replies differ", "malformed")
        if strange := _wrong_children(listed):
            raise Unavailable(f"list shards: {strange} is a child of itself or of an open shard", "malformed")
        if not _covered(listed):
            raise Unavailable("list shards: the open shards do not cover all hash keys", "malformed")
        # Two shards that merge close together, so they vanish together: one alone shows that a reply is short.
        half = sorted(shard.id for shard in listed if 0 < sum(p in found for p in shard.parents) < len(shard.parents))
        if half and not self._one_parent.confirmed(half, self._clock.monotonic()):
            raise Unavailable(f"list shards: only one parent of {', '.join(half[:5])} is listed", "malformed")
        missing = sorted(self._shards - found)
        if missing and not self._short_list.confirmed(missing, self._clock.monotonic()):
            raise Unavailable(f"list shards: {', '.join(missing[:5])} missing, but listed before", "malformed")
        self._short_list.reset()
        if not half:
            self._one_parent.reset()
        self._shards = found
        return listed

    async def iterator(self, shard: str, position: Position) -> str | None:
        """See `ports.Stream`."""
        return await self._stream.iterator(shard, position)

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """See `ports.Stream`; the page has only times that can be trusted."""
        await self._hear()
        page = await self._stream.read(shard, iterator, limit)
        if not 0 <= page.behind_ms <= OLDEST_MS:
            raise Unavailable(f"{self._of(shard)}: {page.behind_ms} ms behind the latest record", "malformed")
        if page.records and not Records.of(page.records).ordered:  # most pages of a shard at its tip are empty
            raise Unavailable(f"{self._of(shard)}: sequence numbers are invalid or out of order", "malformed")
        times = self._clock.heard(page.server_ms)
        return Page(page.records, page.iterator, page.behind_ms, times.latest, page.children, page.size, times.earliest)

    def _of(self, shard: str) -> str:
        return f"read shard {shard} of {self._info.arn if self._info else 'the stream'}"

    async def _hear(self) -> None:
        """Collect enough replies before a Date is used."""
        if self._clock.sure:
            return
        async with self._asking:
            while not self._clock.sure:
                self._clock.heard(await self._stream.server_time())


class _Confirmation:
    """Counts how often, and since when, the same unexpected reply was received."""

    def __init__(self) -> None:
        self._what: object = None
        self._times, self._since = 0, 0.0

    def confirmed(self, what: object, now: float) -> bool:
        """Whether the reply was received often and long enough, including this time."""
        if what != self._what:
            self._what, self._times, self._since = what, 0, now
        self._times += 1
        return self._times >= _CONFIRMATIONS and now - self._since >= _CONFIRM_S

    def reset(self) -> None:
        """The reply was not repeated."""
        self._what = None


def _by_id(listed: Iterable[ShardInfo]) -> dict[str, ShardInfo]:
    return {shard.id: shard for shard in listed}


def _wrong_children(listed: Sequence[ShardInfo]) -> str:
    """The first shards that name themselves, or an open shard, as a parent: only a closed shard has children."""
    still_open = {shard.id for shard in listed if shard.end_sequence is None}
    return ", ".join([shard.id for shard in listed if {shard.id, *still_open} & set(shard.parents)][:5])


def _covered(listed: Iterable[ShardInfo]) -> bool:
    """Whether the open shards cover all hash keys, as they do at any time."""
    reached = 0
    for start, end in sorted((shard.start_hash, shard.end_hash) for shard in listed if shard.end_sequence is None):
        if start > reached:
            return False
        reached = max(reached, end + 1)
    return reached >= HASH_KEYS

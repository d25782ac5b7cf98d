"""One shard's ingest as a pure state machine: pages in, drafts of segments out.

`slices` processes a page slice by slice: decode, hash, filter, route, group. `cut` makes a draft of everything read
since the last cut, and `Draft.seal` (in a thread) makes a segment of it. Uncommitted state is never repaired: after a
lost race the whole object is discarded and rebuilt from the log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.clocks import OLDEST_MS
from vortex.core.clocks import arrived as arrived_of
from vortex.core.decode.event_columns import Events, Keys
from vortex.core.decode.event_pages import Slice
from vortex.core.decode.events import EventReader
from vortex.core.decode.interning import Groups, Numbers
from vortex.core.decode.kpl import rest
from vortex.core.decode.reasons import Reason
from vortex.core.decode.records import Records
from vortex.core.decode.rejections import Rejected, lines_of
from vortex.core.ingest.draft import Draft
from vortex.core.ingest.filter import HORIZON_MS, Filter
from vortex.core.ingest.policy import Policy
from vortex.core.log.lines import PageLines
from vortex.core.log.segment import Counts, empty_footer
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.core.native.contract import KEY_BYTES, NO_PERIOD
from vortex.core.periods import floor_period

IDLE_MARGIN_MS = 5_000
"""How far an idle shard's watermark stays behind the service's clock: arrival times are not exact."""
_SPANS = 8
"""Minimum number of segments per deduplication window."""
_GROUP_OVERHEAD = 1900
"""Bytes per place: names and a dict entry while gathering, cell, folder and member while sealing."""
_COPIES = 4
"""Copies of the names of a place in memory, while gathering and sealing."""


@dataclass(frozen=True, slots=True)
class Step:
    """The counts of one slice of a page, and its rejections by reason.

    `whole`: it ends at the end of a record, and no later record is decompressed yet.
    """

    counts: Counts
    reasons: Counter[Reason]
    whole: bool
    unidentified: int = 0
    """Accepted events without an id."""


@dataclass(slots=True)
class _Build:
    """What was read since the last cut."""

    start: Position
    arrived: tuple[int, int] | None = None
    groups: Groups = field(default_factory=Groups)
    pages: list[PageLines] = field(default_factory=list)
    rejected: dict[tuple[int, bool], list[PageLines]] = field(default_factory=lambda: defaultdict(list))
    """Rejections by period, and separately the data beside them."""
    ids: list[bytes] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    periods: dict[int, Counts] = field(default_factory=lambda: defaultdict(Counts))
    buffered: int = 0


class ShardIngest:
    """The state of one shard task, built from the head of its log (`vortex.ingest.resume`)."""

    def __init__(
        self,
        shard: ShardInfo,
        policy: Policy,
        *,
        n: int,
        position: Position,
        watermark: int,
        closed_before: int,
    ) -> None:
        self.shard = shard
        self.position = position
        self.watermark = watermark
        self.closed_before = closed_before
        self.filter = Filter(min(policy.window_ms, HORIZON_MS))
        self.next_n = n + 1
        self._policy = policy
        self._reader = EventReader(policy.decoder, policy.rules.period_ms, policy.seed, policy.limits)
        self._cut_closed_before = closed_before
        self._build = self._fresh()

    # Read by the loop for its decisions.

    @property
    def buffered(self) -> int:
        """Bytes of memory of the lines since the last cut."""
        return self._build.buffered

    @property
    def decompressed(self) -> int:
        """Bytes that the record at hand has decompressed to, beside the lines."""
        return self._reader.decompressed

    @property
    def has_progress(self) -> bool:
        """Whether anything was read since the last cut."""
        return self._build.counts.records > 0

    @property
    def moved(self) -> bool:
        """Whether closed_before has advanced since the last cut."""
        return self.closed_before > self._cut_closed_before

    @property
    def pending(self) -> Counts:
        """What was read since the last cut."""
        return self._build.counts

    def parts(self, page: Page) -> list[Page]:
        """The page in parts, usually one, so that the rows of a segment span at most an eighth of the window.

        If they spanned hours, as when a quiet shard catches up, all rows of the segment would count as near each other.
        """
        records, span = Records.of(page.records), self._policy.window_ms // _SPANS
        came = np.maximum(np.maximum.accumulate(self._arrived(records, page)), self.watermark)
        begins = self._build.arrived[0] if self._build.arrived else int(came[0])
        if not span or came[-1] <= begins + span:
            return [page]
        ends, at = [], 0
        while at < len(came):
            at = int(np.searchsorted(came, begins + span, side="right"))
            if at < len(came):
                begins = int(came[at])
            if at:
                ends.append(at)
        return [replace(page, records=records.part(a, b)) for a, b in pairwise([0, *ends])]

    def spans_too_far(self, page: Page) -> bool:
        """Whether to cut a segment before this part of a page, for the same reason."""
        begun, records = self._build.arrived, Records.of(page.records)
        if begun is None or not self._policy.window_ms:
            return False
        return (
            max(self.watermark, int(self._arrived(records, page).max())) > begun[0] + self._policy.window_ms // _SPANS
        )

    def take(self, page: Page) -> Counts:
        """Process a whole page. Returns its counts."""
        total = Counts()
        for step in self.slices(page):
            if step is not None:
                total.add(step.counts)
        return total

    def slices(self, page: Page) -> Iterator[Step | None]:
        """Process a page in slices; yields None where other tasks may run. Skips records at or before the position.

        After a `whole` slice, `cut` may follow: the position is after everything read. If the caller stops elsewhere,
        it must discard this object.
        """
        records = self._fresh_records(Records.of(page.records))
        if not records:
            return
        arrived = self._arrived(records, page)
        for one in self._reader.slices(records):
            step = None if one is None else self._take_slice(one, records, arrived[one.first : one.upto])
            del one  # its text may be large: do not keep it while other tasks run
            yield step

    def _take_slice(self, one: Slice, records: Records, arrived: NDArray[np.int64]) -> Step:
        """Process one slice; `arrived` are the arrival times of its records."""
        counts = self._build.counts
        before = msgspec.structs.replace(counts)
        events = one.events
        unidentified = self._take_events(events, arrived, events.record - one.first)
        reasons = self._reject(events.rejected, records, arrived, one.first)
        if one.last:
            self._advance(int(arrived.max()))
            counts.records += one.upto - one.first
            last = records.last if one.upto == len(records) else records.sequences[one.upto - 1]
            self.position = Position(Start.AFTER_SEQUENCE_NUMBER, last)
        counts.events = counts.accepted + counts.filtered + counts.rejected
        read = Counts(*(getattr(counts, name) - getattr(before, name) for name in Counts.__struct_fields__))
        return Step(read, reasons, one.last and not one.busy, unidentified)

    def idle(self, empty_until: int) -> None:
        """The shard is empty up to this time, which all clocks have reached: advance its watermark."""
        self._advance(empty_until - IDLE_MARGIN_MS)

    def cut(
        self,
        owner: str,
        now_ms: int,
        *,
        children: tuple[ShardInfo, ...] | None = None,
        gap: str = "",
        closed_before: int | None = None,
    ) -> Draft:
        """Cut the lines into a draft of the next segment. `children` (perhaps empty) ends the log.

        `closed_before` advances the bound further than the watermark does (draining).
        """
        build = self._build
        if closed_before is not None:
            self.closed_before = max(self.closed_before, closed_before)
        empty = empty_footer(
            self.shard.id,
            self.next_n,
            owner=owner,
            created=now_ms,
            position=self.position,
            watermark=self.watermark,
            closed_before=self.closed_before,
            start=build.start,
        )
        footer = msgspec.structs.replace(
            empty,
            counts=build.counts,
            periods=dict(sorted(build.periods.items())),
            arrived=build.arrived or empty.arrived,
            ended=children is not None,
            children=children or (),
            gap=gap,
            settings=self._policy.fingerprint,
        )
        self.next_n += 1
        self._cut_closed_before = self.closed_before
        self._build = self._fresh()
        return Draft(
            footer, self._policy.layout, build.groups.places, build.pages, build.rejected, build.ids, build.buffered
        )

    def _fresh(self) -> _Build:
        return _Build(self.position)

    def _fresh_records(self, records: Records) -> Records:
        if not self.position.by_record or not records:
            return records
        done = int(self.position.value)
        if int(records.first) > done:
            return records
        fresh = [record for record in records if int(record.sequence) > done]
        if self.position.skip:  # another application has read part of a KPL aggregate
            parts = [(r, rest(r.data, self.position.skip)) for r in records if int(r.sequence) == done]
            fresh = [msgspec.structs.replace(r, data=data) for r, data in parts if data is not None] + fresh
        return Records.of(fresh)

    def _arrived(self, records: Records, page: Page) -> NDArray[np.int64]:
        """The arrival time of each record, in milliseconds.

        Without any possible time, they arrived as long ago as the page is behind the tip, by the time that all clocks
        have reached: one clock alone must not close anything.
        """
        unknown = page.empty_until - min(page.behind_ms, OLDEST_MS)
        return arrived_of(records.arrivals, page.server_ms, self.watermark, unknown)

    def _advance(self, to: int) -> None:
        if to > self.watermark:
            self.watermark = to
            self.closed_before = max(self.closed_before, self._policy.rules.closed_before(to))

    def _take_events(self, events: Events, arrived: NDArray[np.int64], record: NDArray[np.int32]) -> int:
        """Filter, route and group events; how many of the accepted ones have no id.

        `arrived` is by record; `record` is the record index of each event.
        """
        if not len(events):
            return 0
        build = self._build
        begins = max(self.watermark, int(arrived[: int(record[0]) + 1].max()))
        ends = max(self.watermark, int(arrived.max()))
        fresh = self.filter.claim(events.keys.tobytes(), begins, ends)
        accepted = int(np.count_nonzero(fresh))
        build.counts.accepted += accepted
        build.counts.filtered += len(fresh) - accepted
        if accepted:
            build.arrived = (build.arrived[0] if build.arrived else begins, ends)
        period, shift = self._routed(events, arrived, record)
        if shift.any():
            for at, number in _counted(period[fresh & (shift < 0)]):
                build.periods[at].late += number
                build.counts.late += number
            for at, number in _counted(period[fresh & (shift > 0)]):
                build.periods[at].early += number
                build.counts.early += number
        if period is not events.period:  # for example if a time cannot be read
            for at, number in _counted(period[fresh & (events.period == NO_PERIOD)]):
                build.periods[at].untimed += number
                build.counts.untimed += number
        unidentified = 0 if events.unidentified is None else int(np.count_nonzero(fresh & events.unidentified))
        if accepted == len(fresh):
            self._keep(events, period, events.start, events.size, events.name, events.keys)
            return unidentified
        for at, number in _counted(period[~fresh]):
            build.periods[at].filtered += number
        if accepted:
            some = events.start[fresh], events.size[fresh], events.name[fresh], events.keys[fresh]
            self._keep(events, period[fresh], *some)
        return unidentified

    def _all_on_time(self, events: Events, arrived: NDArray[np.int64]) -> bool:
        """Whether every event is of a period that is open, and was not to come yet, from the first record to the last:
        then none is routed elsewhere (`_routed`), which goes for most pages.
        """
        rules = self._policy.rules
        first, last = max(self.watermark, int(arrived[0])), max(self.watermark, int(arrived.max()))
        bound = self.closed_before if last == self.watermark else max(self.closed_before, rules.closed_before(last))
        return bool(bound <= events.period.min() and events.period.max() <= floor_period(first, rules.period_ms))

    def _routed(
        self, events: Events, arrived: NDArray[np.int64], record: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """The period of each event, and whether it is late (-1) or early (1) and goes to the watermark's own period.

        Each event is routed using the watermark after its own record. Until the watermark advances, the bound recorded
        in the log is kept, even if the lateness settings have changed.
        """
        if self._all_on_time(events, arrived):
            return events.period, np.zeros(len(events), dtype=np.int8)
        own, closed_before = (each[record] for each in self._bounds(arrived))
        at = arrived[record]
        period = np.where(events.period == NO_PERIOD, at - at % self._policy.rules.period_ms, events.period)
        shift = (period > own).astype(np.int8)
        shift[period < closed_before] = -1
        return np.where(shift == 0, period, np.maximum(own, closed_before)), shift

    def _bounds(self, arrived: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each record, the period of the watermark after it, and the first open period."""
        rules = self._policy.rules
        watermark = np.maximum(np.maximum.accumulate(arrived), self.watermark)
        bound = np.where(watermark > self.watermark, rules.closed_before_each(watermark), self.closed_before)
        return watermark - watermark % rules.period_ms, np.maximum(bound, self.closed_before)

    def _keep(
        self,
        events: Events,
        period: NDArray[np.int64],
        start: NDArray[np.int64],
        size: NDArray[np.int32],
        name: Numbers,
        keys: Keys,
    ) -> None:
        """Add the lines of new events, given by column, to their groups."""
        build, before, characters = self._build, len(self._build.groups), self._build.groups.characters
        group = build.groups.number(events.names, name, period)
        lines = PageLines(events.text, start, size, group).compact()
        build.pages.append(lines)
        build.ids.append(keys.tobytes())
        build.counts.bytes += int(lines.size.sum()) + len(lines.size)
        build.buffered += lines.nbytes + KEY_BYTES * len(lines.size) + _GROUP_OVERHEAD * (len(build.groups) - before)
        build.buffered += _COPIES * (build.groups.characters - characters)

    def _reject(
        self, rejected: list[Rejected], records: Records, arrived: NDArray[np.int64], first: int
    ) -> Counter[Reason]:
        """Add the rejections to the periods of the watermark after their records. Returns their number by reason."""
        if not rejected:
            return Counter()
        build, layout = self._build, self._policy.layout
        own, closed_before = self._bounds(arrived)
        place = np.fromiter((one.record for one in rejected), np.int64, len(rejected)) - first
        period = np.maximum(own, closed_before)[place]
        for at, number in _counted(period):
            chosen = rejected if number == len(rejected) else [rejected[row] for row in np.flatnonzero(period == at)]
            texts = lines_of(chosen, records.sequences, records.arrivals, self.shard.id, layout.beside_folder(at))
            for beside, text in zip((False, True), texts, strict=True):
                if text:
                    lines = PageLines.of_text(text)
                    build.rejected[at, beside].append(lines)
                    build.buffered += lines.nbytes
            build.periods[at].rejected += number
            build.counts.rejected += number
        return Counter(one.reason for one in rejected)


def _counted(periods: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The number of occurrences of each period."""
    if not len(periods):
        return []
    return [(int(period), int(number)) for period, number in zip(*np.unique(periods, return_counts=True), strict=True)]

"""One shard's ingest as a pure state machine: pages in, drafts of segments out.

`slices` does the work of a page, a slice at a time: decode, hash, filter, route, group. `cut` turns what was taken
since the last cut into a draft, which `Draft.seal` (in a thread) makes a segment of. Uncommitted state is never mended:
after a lost race the whole object is thrown away and built anew from the log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.clocks import arrived as arrived_of
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.event_columns import Events, Keys
from vortex.core.decode.event_pages import Slice
from vortex.core.decode.events import EventReader
from vortex.core.decode.interning import Groups, Numbers
from vortex.core.decode.kpl import rest
from vortex.core.decode.limits import DEFAULT, Limits
from vortex.core.decode.reasons import Reason
from vortex.core.decode.records import Records
from vortex.core.decode.rejections import Rejected, lines_of
from vortex.core.ingest.draft import Draft
from vortex.core.ingest.filter import HORIZON_MS, Filter
from vortex.core.layout import Layout
from vortex.core.log.lines import PageLines
from vortex.core.log.segment import Counts, empty_footer
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.core.native.contract import KEY_BYTES, NO_PERIOD
from vortex.core.periods import Rules, floor_period

IDLE_MARGIN_MS = 5_000
"""How far behind the service's clock an idle shard's watermark stays: arrival times are not exact."""
_SPANS = 8
"""Into how many segments at least a window's time is cut."""
_GROUP_OVERHEAD = 1900
"""Bytes of a place: its names and a dict's entry while it gathers, its cell, folder and member while it is sealed."""
_COPIES = 4
"""Of the names of a place, while it gathers and while it is sealed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about an event's way; `fingerprint` goes into every footer for diagnosis."""

    decoder: Decoder
    layout: Layout
    rules: Rules
    window_ms: int
    seed: int
    fingerprint: str = ""
    limits: Limits = DEFAULT


@dataclass(frozen=True, slots=True)
class Step:
    """What one slice of a page held, its rejections by reason too. `whole`: it ends where a record ends."""

    counts: Counts
    reasons: Counter[Reason]
    whole: bool


@dataclass(slots=True)
class _Build:
    """What was taken since the last cut."""

    start: Position
    arrived: tuple[int, int] | None = None
    groups: Groups = field(default_factory=Groups)
    pages: list[PageLines] = field(default_factory=list)
    rejected: dict[tuple[int, bool], list[PageLines]] = field(default_factory=lambda: defaultdict(list))
    """Rejections by period, and apart from them what stands beside them."""
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

    # What the loop asks before it decides.

    @property
    def buffered(self) -> int:
        """Bytes of memory that uncut lines take."""
        return self._build.buffered

    @property
    def has_progress(self) -> bool:
        """Whether anything was read since the last cut."""
        return self._build.counts.records > 0

    @property
    def moved(self) -> bool:
        """Whether closed_before has moved since the last cut."""
        return self.closed_before > self._cut_closed_before

    @property
    def pending(self) -> Counts:
        """What was taken since the last cut."""
        return self._build.counts

    def parts(self, page: Page) -> list[Page]:
        """The page in parts, nearly always one, so that a segment's rows span no more than an eighth of the window.

        Where they spanned hours, of a quiet shard that is caught up with, everything in it would be near to everything.
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
        return [replace(page, records=Records.of(records[a:b])) for a, b in pairwise([0, *ends])]

    def spans_too_far(self, page: Page) -> bool:
        """Whether a segment should be cut ahead of this part of a page, for the same reason."""
        begun, records = self._build.arrived, Records.of(page.records)
        if begun is None or not self._policy.window_ms:
            return False
        return (
            max(self.watermark, int(self._arrived(records, page).max())) > begun[0] + self._policy.window_ms // _SPANS
        )

    def take(self, page: Page) -> Counts:
        """Take a page at once. Returns what it held."""
        total = Counts()
        for step in self.slices(page):
            if step is not None:
                total.add(step.counts)
        return total

    def slices(self, page: Page) -> Iterator[Step | None]:
        """Take a page in slices; None where others may have their turn. Records at or before the position are skipped.

        Where a slice is `whole` the position is behind all that was taken, and `cut` may follow. Whoever leaves off
        elsewhere has to throw all of this away.
        """
        records = self._fresh_records(Records.of(page.records))
        if not records:
            return
        arrived = self._arrived(records, page)
        for one in self._reader.slices(records):
            step = None if one is None else self._take_slice(one, records, arrived[one.first : one.upto])
            del one  # its text may be large, and is not to be held here while others have their turn
            yield step

    def _take_slice(self, one: Slice, records: Records, arrived: NDArray[np.int64]) -> Step:
        """`arrived`: when each of the slice's records did."""
        counts = self._build.counts
        before = msgspec.structs.replace(counts)
        events = one.events
        self._take_events(events, arrived, events.record - one.first)
        reasons = self._reject(events.rejected, records, arrived, one.first)
        if one.last:
            self._advance(int(arrived.max()))
            counts.records += one.upto - one.first
            last = records.last if one.upto == len(records) else records.sequences[one.upto - 1]
            self.position = Position(Start.AFTER_SEQUENCE_NUMBER, last)
        counts.events = counts.accepted + counts.filtered + counts.rejected
        taken = Counts(*(getattr(counts, name) - getattr(before, name) for name in Counts.__struct_fields__))
        return Step(taken, reasons, one.last)

    def idle(self, empty_until: int) -> None:
        """The shard is empty up to this time, at which all clocks have arrived: its watermark follows."""
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
        """Close what is being built as the next segment. `children` (perhaps empty) ends the log.

        `closed_before` moves the bound further than the watermark does (draining).
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
        if self.position.taken:  # by another application, of a KPL aggregate
            parts = [(r, rest(r.data, self.position.taken)) for r in records if int(r.sequence) == done]
            fresh = [msgspec.structs.replace(r, data=data) for r, data in parts if data is not None] + fresh
        return Records.of(fresh)

    def _arrived(self, records: Records, page: Page) -> NDArray[np.int64]:
        """When each record arrived, milliseconds. A page at the tip tells it, whatever its records say: just now."""
        since = self.watermark if page.behind_ms else max(self.watermark, page.empty_until)
        return arrived_of(records.arrivals, page.server_ms, since)

    def _advance(self, to: int) -> None:
        if to > self.watermark:
            self.watermark = to
            self.closed_before = max(self.closed_before, self._policy.rules.closed_before(to))

    def _take_events(self, events: Events, arrived: NDArray[np.int64], record: NDArray[np.int32]) -> None:
        """Filter, route and group some events. `arrived` is when each of the records did, `record` an event's."""
        if not len(events):
            return
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
        if period is not events.period:  # as where a time cannot be read
            for at, number in _counted(period[fresh & (events.period == NO_PERIOD)]):
                build.periods[at].untimed += number
                build.counts.untimed += number
        if accepted == len(fresh):
            self._keep(events, period, events.start, events.size, events.name, events.keys)
            return
        for at, number in _counted(period[~fresh]):
            build.periods[at].filtered += number
        if accepted:
            some = events.start[fresh], events.size[fresh], events.name[fresh], events.keys[fresh]
            self._keep(events, period[fresh], *some)

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
        """For each event the period that takes it, and whether it is late (-1) or early (1) and comes with W's own.

        W goes on from record to record, and with it what is open: an event is told by the W of its own record. As long
        as W has not moved, what the log says is open stays so, whatever the settings say of it now.
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
        """For each record the period of its W, and the least one that is open then."""
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
        """Put the lines of new events, given by column, into their groups."""
        build, before, characters = self._build, len(self._build.groups), self._build.groups.characters
        group = build.groups.number(events.names, name, period)
        taken = PageLines(events.text, start, size, group).compact()
        build.pages.append(taken)
        build.ids.append(keys.tobytes())
        build.counts.bytes += int(taken.size.sum()) + len(taken.size)
        build.buffered += taken.nbytes + KEY_BYTES * len(taken.size) + _GROUP_OVERHEAD * (len(build.groups) - before)
        build.buffered += _COPIES * (build.groups.characters - characters)

    def _reject(
        self, rejected: list[Rejected], records: Records, arrived: NDArray[np.int64], first: int
    ) -> Counter[Reason]:
        """Put the rejections into the periods of their records' W. How many there are of each reason."""
        if not rejected:
            return Counter()
        build, layout = self._build, self._policy.layout
        own, closed_before = self._bounds(arrived)
        place = np.fromiter((one.record for one in rejected), np.int64, len(rejected)) - first
        period = np.maximum(own, closed_before)[place]
        for at, number in _counted(period):
            its = rejected if number == len(rejected) else [rejected[row] for row in np.flatnonzero(period == at)]
            texts = lines_of(its, records.sequences, records.arrivals, self.shard.id, layout.beside_folder(at))
            for beside, text in zip((False, True), texts, strict=True):
                if text:
                    taken = PageLines.of_text(text)
                    build.rejected[at, beside].append(taken)
                    build.buffered += taken.nbytes
            build.periods[at].rejected += number
            build.counts.rejected += number
        return Counter(one.reason for one in rejected)


def _counted(periods: NDArray[np.int64]) -> list[tuple[int, int]]:
    """How often each period stands there."""
    if not len(periods):
        return []
    return [(int(period), int(number)) for period, number in zip(*np.unique(periods, return_counts=True), strict=True)]

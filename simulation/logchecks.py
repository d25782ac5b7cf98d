"""Checks every segment with an independent model: which records it covers, which events are new, and their folders.

The model shares only the parsing of a footer with `core`: it has the expected events instead of a decoder,
and names instead of hashes.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from simulation.traffic import MARK, Truth, Written
from vortex.config.settings import Settings
from vortex.core.invariants import Invariant
from vortex.core.layout import BESIDE, date_and_hour
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.log.segment import Counts, Footer, decompress, parse_footer
from vortex.core.model import HOUR_MS, Position, ShardInfo, Start

Violated = Callable[[Invariant, str], None]
_ESTIMATE_MS = 2 * HOUR_MS
"""How far back an estimated arrival time may be: local clocks may be an hour behind, arrival times 20 minutes."""
_OLDEST = Position(Start.TRIM_HORIZON)
_SUMMED = ("events", "accepted", "filtered", "rejected", "late", "early", "untimed", "bytes")


class Row(NamedTuple):
    """An accepted event: its position, its content, and when it arrived."""

    shard: str
    n: int
    row: int
    period: int
    folder: str
    key: str
    line: bytes
    lo: int
    hi: int


@dataclass(slots=True)
class Segment:
    """One committed segment. `lines` by (folder, period), in order; `rows` are the accepted ones."""

    footer: Footer
    digest: str
    lines: dict[tuple[str, int], list[bytes]]
    ids: list[bytes]
    rows: list[Row] = field(default_factory=list)

    def as_head(self) -> SegmentHeader:
        """The segment as the log store reads it."""
        return SegmentHeader(self.footer.shard, self.footer.n, self.digest, self.footer)


def parsed(key: str, body: bytes) -> Segment:
    """Parse a segment."""
    footer, digest = parse_footer(body, len(body), key)
    lines = {}
    rest: dict[int, bytes] = {}
    for folder, period, offset, length, _, raw, _ in footer.member_rows.tolist():
        if offset not in rest:
            rest[offset] = decompress(body[offset : offset + length], key)
        lines[footer.folders[folder].path, period] = rest[offset][:raw].split(b"\n")[:-1]
        rest[offset] = rest[offset][raw:]
    assert not any(rest.values()), f"{key}: a blob contains more than its members"
    offset, length = footer.ids_range
    return Segment(footer, digest, lines, [body[at : at + 16] for at in range(offset, offset + length, 16)])


class LogModel:
    """All committed logs. Checks each new segment."""

    def __init__(
        self, records: dict[str, list[Written]], violated: Violated, now: Callable[[], int], retention_ms: int
    ) -> None:
        self.logs: dict[str, list[Segment]] = {}
        self.settings: dict[str, Settings] = {}
        """The settings of each writer of segments, by owner."""
        self.drains: set[str] = set()
        self.parents: dict[str, tuple[str, ...]] = {}
        self.starts: dict[str, Position] = {}
        """The start positions of the roots."""
        self.wrong_dates = False
        """Whether Dates of the service may be wrong, so that they do not limit arrival times."""
        self.untimed: set[tuple[str, int]] = set()
        """Shard and sequence number of the records that some reply showed with an impossible arrival time."""
        self.gaps = 0
        self.vanished = False
        """Whether a log shows that its shard vanished before it was read; its children may have vanished too."""
        self._truths: dict[int, Truth] = {}
        self._last: dict[str, dict[str, int]] = {}
        """By shard and key, when its last row arrived."""
        self._hashes: dict[str, bytes] = {}
        self._names: dict[bytes, str] = {}
        self._in_gap: set[str] = set()
        self._past: set[str] = set()
        """Ancestors of the roots: they vanished from the listing before the first start."""
        self._records, self._violated, self._now, self._retention = records, violated, now, retention_ms

    def add(self, shard: str, segment: Segment) -> None:
        """Check and add the next segment of the shard's log."""
        log = self.logs.setdefault(shard, [])
        before = log[-1] if log else None
        name = f"{shard} segment {segment.footer.n}"
        self._check_follows(name, before, segment)
        self._check_sums(name, segment.footer)
        self._check_content(name, before, segment)
        log.append(segment)
        footer = segment.footer
        for child in footer.children:
            self.parents[child.id] = child.parents
        if footer.gap:
            self.gaps += 1
            self.vanished |= footer.ended
            self._in_gap.add(shard)
        elif footer.counts.records:
            self._in_gap.discard(shard)

    def begins(self, state: StreamState, shards: Iterable[ShardInfo]) -> None:
        """`stream.json` was written; `shards` are all shards that the stream has had."""
        self.starts = {root.shard.id: root.position for root in state.roots}
        parents = {shard.id: shard.parents for shard in shards}
        older = [parent for root in state.roots for parent in root.shard.parents]
        while older:
            shard = older.pop()
            if shard not in self.starts:
                self._past.add(shard)
                older += parents[shard]

    def ended(self, shard: str) -> bool:
        """Whether the shard's log has ended."""
        log = self.logs.get(shard)
        return bool(log) and log[-1].footer.ended if log else False

    def covered(self, shard: str) -> int:
        """The sequence number up to which the log covers the records."""
        log = self.logs.get(shard)
        return _number(log[-1].footer.position) if log else -1

    def covers(self, shard: str) -> list[Written]:
        """The records of the shard that Vortex must read: from the start of its log, or its start position."""
        if shard in self._past:
            return []
        log = self.logs.get(shard)
        return self._since(shard, log[0].footer.start if log else self.starts.get(shard, _OLDEST))

    def _since(self, shard: str, start: Position) -> list[Written]:
        records = self._records.get(shard, [])
        if start.kind is not Start.AT_TIMESTAMP:
            return records
        at = int(start.value)
        return records[next((i for i, one in enumerate(records) if one.arrival_ms >= at), len(records)) :]

    def lost(self, shard: str, record: Written) -> bool:
        """Whether the record expired before it was read, and the log shows a gap."""
        shown = shard in self._in_gap or (self.vanished and shard not in self.logs)
        return shown and record.put_ms + self._retention <= self._now()

    # Order.

    def _check_follows(self, name: str, before: Segment | None, segment: Segment) -> None:
        footer, bad = segment.footer, self._violated
        if footer.prev != (before.digest if before else ""):
            bad(Invariant.WHOLE_LOGS, f"{name}: follows {footer.prev!r}, which is not the previous segment")
        if before is None:
            self._check_first(name, footer)
            return
        earlier = before.footer
        if earlier.ended:
            bad(Invariant.WHOLE_LOGS, f"{name}: comes after the end of its log")
        if footer.start != earlier.position or _number(footer.position) < _number(earlier.position):
            bad(Invariant.WHOLE_LOGS, f"{name}: {footer.start}..{footer.position} after {earlier.position}")
        if footer.watermark < earlier.watermark or footer.closed_before < earlier.closed_before:
            bad(Invariant.WHOLE_LOGS, f"{name}: watermark or closed_before goes back")
        if any(period < earlier.closed_before for period in footer.periods):
            bad(
                Invariant.CLOSED_HOURS,
                f"{name}: contains rows before {earlier.closed_before}, which its log had closed",
            )
        if footer.watermark > max(earlier.watermark, self._now()):
            bad(
                Invariant.CLOSED_HOURS,
                f"{name}: its watermark is {footer.watermark - self._now()} ms ahead of the clock",
            )
        owner = self.settings.get(footer.owner)
        if owner is not None and not footer.advances and footer.owner not in self.drains:
            allowed = footer.watermark - owner.hours.allowed_lateness
            bound = max(earlier.closed_before, allowed - allowed % owner.publish.period)
            if footer.closed_before > bound:
                bad(
                    Invariant.CLOSED_HOURS,
                    f"{name}: closed_before {footer.closed_before} is later than its watermark allows",
                )

    def _check_first(self, name: str, footer: Footer) -> None:
        parents = self.parents.get(footer.shard, ())
        missing = [parent for parent in parents if not self.ended(parent)]
        if missing:
            self._violated(Invariant.PARENTS_FIRST, f"{name}: starts before its parents {missing} have ended")
            return
        ends = [self.logs[parent][-1].footer for parent in parents]
        if ends and footer.watermark != min(end.watermark for end in ends):
            self._violated(Invariant.WHOLE_LOGS, f"{name}: its first watermark is not the smallest of its parents'")
        if ends and footer.closed_before != max(end.closed_before for end in ends):
            self._violated(Invariant.WHOLE_LOGS, f"{name}: its first closed_before is not the largest of its parents'")
        unread = all(end.position.kind is Start.AT_TIMESTAMP for end in ends)
        if ends and footer.position != (ends[0].position if unread else _OLDEST):
            self._violated(Invariant.PARENTS_FIRST, f"{name}: a child starts at {footer.position}")

    # Sums.

    def _check_sums(self, name: str, footer: Footer) -> None:
        counts, total = footer.counts, Counts()
        for some in footer.periods.values():
            total.add(some)
        if counts.events != counts.accepted + counts.filtered + counts.rejected:
            self._violated(Invariant.SUMS_AGREE, f"{name}: events is not accepted + filtered + rejected")
        if any(getattr(total, each) != getattr(counts, each) for each in _SUMMED):
            self._violated(Invariant.SUMS_AGREE, f"{name}: its periods do not add up")

    # Contents.

    def _check_content(self, name: str, before: Segment | None, segment: Segment) -> None:
        """Every event is a row, a rejection, or filtered; for a filtered event there must be a row with its key."""
        footer = segment.footer
        records = self._covered_by(name, footer)
        read = Counter(truth.number for one in records for truth in one.truths if not truth.broken)
        self._truths.update((truth.number, truth) for one in records for truth in one.truths)
        there = Counter(truth.number for truth, _ in self._lines(segment, rejected=False))
        rejected = sorted(truth.number for one in records for truth in one.truths if truth.broken)
        broken = sorted(truth.number for truth, _ in self._lines(segment, rejected=True))
        filtered = read - there
        if extra := there - read:
            self._violated(
                Invariant.COMPLETE_AND_ONCE, f"{name}: contains {sorted(extra.elements())[:5]}, which were not read"
            )
        elif broken != rejected or footer.counts.rejected != len(rejected):
            self._violated(Invariant.COMPLETE_AND_ONCE, f"{name}: rejections {broken[:5]}, should be {rejected[:5]}")
        elif (footer.counts.accepted, footer.counts.filtered) != (there.total(), filtered.total()):
            self._violated(
                Invariant.SUMS_AGREE,
                f"{name}: counts {footer.counts}, {there.total()} rows, {filtered.total()} filtered",
            )
        elif footer.counts.untimed != (timeless := sum(n for at, n in there.items() if self._truths[at].at is None)):
            self._violated(
                Invariant.SUMS_AGREE, f"{name}: {footer.counts.untimed} without a time, should be {timeless}"
            )
        else:
            self._check_filtered(name, before, segment, filtered, there)
            self._check_rows(name, segment)
            self._check_places(name, before, segment, records)
            self._check_arrived(name, before, segment, records, there)

    def _check_rows(self, name: str, segment: Segment) -> None:
        """The ids match the lines, in the same order; equal keys have equal ids, and different keys different ids."""
        footer, row = segment.footer, 0
        for folder, period, *_ in footer.member_rows.tolist():
            if footer.folders[folder].rejected:
                continue
            path = footer.folders[folder].path
            for line in segment.lines[path, period]:
                key = self._truths[_mark(line)].key
                segment.rows.append(Row(footer.shard, footer.n, row, period, path, key, line, *footer.arrived))
                digest = segment.ids[row] if row < len(segment.ids) else b""
                if self._hashes.setdefault(key, digest) != digest or self._names.setdefault(digest, key) != key:
                    self._violated(
                        Invariant.ROWS_KEEP_IDS, f"{name}: the id of row {row}, {key!r}, differs from its id before"
                    )
                row += 1
        if row != len(segment.ids):
            self._violated(Invariant.ROWS_KEEP_IDS, f"{name}: {len(segment.ids)} ids, {row} rows")
        last = self._last.setdefault(footer.shard, {})
        last.update((one.key, one.hi) for one in segment.rows)

    def _check_filtered(
        self, name: str, before: Segment | None, segment: Segment, filtered: Counter[int], there: Counter[int]
    ) -> None:
        owner, own = self.settings.get(segment.footer.owner), {self._truths[number].key for number in there}
        horizon = min(owner.dedup.window, 600_000) if owner else 600_000
        oldest = (before.footer.watermark if before else 0) - horizon
        came = self._last.get(segment.footer.shard, {})
        for key in {self._truths[number].key for number in filtered} - own:
            if came.get(key, oldest - 1) < oldest:
                self._violated(Invariant.FILTERED_HAVE_ROWS, f"{name}: {key!r} was filtered, but no row has its key")

    def _check_arrived(
        self, name: str, before: Segment | None, segment: Segment, records: list[Written], there: Counter[int]
    ) -> None:
        footer = segment.footer
        (lo, hi), least = footer.arrived, before.footer.watermark if before else 0
        if not least <= lo <= hi <= footer.watermark or (not segment.rows and lo != footer.watermark):
            self._violated(
                Invariant.ARRIVAL_BOUNDS_HOLD,
                f"{name}: rows arrived in {lo}..{hi}, but its watermark went from {least} to {footer.watermark}",
            )
        owner = self.settings.get(footer.owner)
        if owner is not None and owner.dedup.window and hi - lo > owner.dedup.window // 8:
            self._violated(
                Invariant.ARRIVAL_BOUNDS_HOLD,
                f"{name}: rows arrived in {lo}..{hi}, which is more than an eighth of the window",
            )
        within, mark = Counter[int](), least
        known = least or (records[0].put_ms if records else 0)
        for one in records:
            if (footer.shard, one.sequence) in self.untimed:
                # Estimated: not before what is known of the log, nor, in a new log, long before the first was put.
                if known <= hi + _ESTIMATE_MS:
                    within.update(truth.number for truth in one.truths)
                continue
            mark = max(mark, one.arrival_ms)
            # The watermark of an idle shard advances, at most to when the record was put. Arrival times are at most the
            # service's time, which is in whole seconds.
            if lo <= max(mark, one.put_ms) and mark <= hi + 1000:
                within.update(truth.number for truth in one.truths)
        reliable = footer.shard not in self._in_gap and not footer.gap and not self.wrong_dates
        if reliable and (outside := there - within):
            self._violated(Invariant.ARRIVAL_BOUNDS_HOLD, f"{name}: {sorted(outside)[:5]} did not arrive in {lo}..{hi}")

    def _covered_by(self, name: str, footer: Footer) -> list[Written]:
        """The records that the segment must contain; expired ones may be missing if the log shows a gap."""
        first, last = _number(footer.start), _number(footer.position)
        chosen = [one for one in self._since(footer.shard, footer.start) if first < one.sequence <= last]
        if footer.start.kind is Start.AT_TIMESTAMP and len(chosen) < footer.counts.records:
            # A reader that waits there before any record gets the next record put, whatever its arrival time.
            since = int(footer.start.value)
            put = [one for one in self._records.get(footer.shard, []) if since <= one.put_ms and one.sequence <= last]
            chosen = put[-footer.counts.records :]
        missing = len(chosen) - footer.counts.records
        if missing > 0:
            oldest = footer.start.kind is not Start.AFTER_SEQUENCE_NUMBER and not self.parents.get(footer.shard)
            shown = oldest or footer.shard in self._in_gap or footer.gap
            if shown and all(self._may_miss(one, footer.start) for one in chosen[:missing]):
                return chosen[missing:]
        if missing:
            self._violated(
                Invariant.COMPLETE_AND_ONCE,
                f"{name}: {footer.counts.records} records of {len(chosen)} in {first}..{last}",
            )
        return chosen

    def _may_miss(self, record: Written, start: Position) -> bool:
        """It has expired; or it arrived before the time at which reading starts. Such a record is read only after one
        that arrived later, which may have expired.
        """
        if record.put_ms + self._retention <= self._now():
            return True
        return start.kind is Start.AT_TIMESTAMP and record.arrival_ms < int(start.value)

    def _lines(self, segment: Segment, *, rejected: bool) -> Iterable[tuple[Truth, int]]:
        for (folder, period), lines in segment.lines.items():
            if folder.startswith("_rejected/") is rejected and not folder.endswith(f"/{BESIDE}"):
                for line in lines:
                    yield Truth(_mark(line), line), period

    def _check_places(self, name: str, before: Segment | None, segment: Segment, records: list[Written]) -> None:
        """Every event is in its own period, or, if that is closed or in the future, in the current one, unchanged."""
        footer = segment.footer
        step = self.settings[footer.owner].publish.period if footer.owner in self.settings else 1
        latest = max(footer.watermark - footer.watermark % step, footer.closed_before)
        earliest = before.footer.watermark if before else 0
        came: dict[int, list[Written]] = {}
        for record in records:
            for truth in record.truths:
                came.setdefault(truth.number, []).append(record)
        for row in segment.rows:
            truth = self._truths[_mark(row.line)]
            date, hour = date_and_hour(row.period)
            folder = f"customer={truth.customer}/event_type={truth.kind}/date={date}/hour={hour}"
            if (row.folder, row.line) != (folder, truth.data):
                self._violated(
                    Invariant.COMPLETE_AND_ONCE, f"{name}: event {truth.number} was changed, or is not in {folder}"
                )

            def fits(record: Written, row: Row = row, truth: Truth = truth) -> bool:
                if truth.at is None and (row.shard, record.sequence) in self.untimed:
                    return row.period <= latest
                at = record.arrival_ms if truth.at is None else truth.at
                own = at - at % step
                moved = row.period != own and not (truth.at is None and abs(row.period - own) <= step)
                return not (row.period > latest or (moved and footer.closed_before <= own <= earliest - step))

            if not any(map(fits, came[truth.number])):
                self._violated(Invariant.COMPLETE_AND_ONCE, f"{name}: event {truth.number} is in period {row.period}")


def _number(position: Position) -> int:
    return int(position.value) if position.kind is Start.AFTER_SEQUENCE_NUMBER else -1


def _mark(line: bytes) -> int:
    """The number of the event in a line; a rejection may contain it in base64."""
    found = MARK.search(line)
    if found is None and b"data_base64" in line:
        found = MARK.search(base64.b64decode(json.loads(line)["data_base64"]))
    return int(found[1]) if found else -1

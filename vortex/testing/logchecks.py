"""What every segment must be, told by a model of its own: which records it covers, what of them is new, where it goes.

The model shares nothing with `core` but the reading of a footer: it has the truth of the traffic instead of a decoder,
and sets of names instead of a window of hashes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vortex.config import Settings
from vortex.core.layout import date_and_hour
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.segment import Counts, Footer, parse_footer, unfold
from vortex.core.shardlog import Head, StreamState
from vortex.testing.traffic import MARK, Truth, Written

Violated = Callable[[str, str], None]
_OLDEST = Position(Start.TRIM_HORIZON)
_SUMMED = ("events", "accepted", "duplicates", "rejected", "late", "early", "untimed", "bytes")


@dataclass(slots=True)
class Segment:
    """One committed segment. `lines` by (folder, period), in stream order; `keys` of what it accepted."""

    footer: Footer
    digest: str
    lines: dict[tuple[str, int], list[bytes]]
    ids: list[bytes]
    keys: list[str] = field(default_factory=list)

    def as_head(self) -> Head:
        """As the journal would read it."""
        return Head(self.footer.shard, self.footer.n, self.digest, self.footer)


def parsed(key: str, body: bytes) -> Segment:
    """The segment of these bytes."""
    footer, digest = parse_footer(body, len(body), key)
    lines = {}
    rest: dict[int, bytes] = {}
    for folder, period, offset, length, _, raw, _ in footer.member_rows.tolist():
        if offset not in rest:
            rest[offset] = unfold(body[offset : offset + length], key)
        lines[footer.folders[folder].path, period] = rest[offset][:raw].split(b"\n")[:-1]
        rest[offset] = rest[offset][raw:]
    assert not any(rest.values()), f"{key}: a blob holds more than its members"
    offset, length = footer.ids_range
    return Segment(footer, digest, lines, [body[at : at + 16] for at in range(offset, offset + length, 16)])


class LogModel:
    """All logs as far as they are committed, each new segment checked against what it must be."""

    def __init__(
        self, records: dict[str, list[Written]], violated: Violated, now: Callable[[], int], retention_ms: int
    ) -> None:
        self.logs: dict[str, list[Segment]] = {}
        self.settings: dict[str, Settings] = {}
        """By owner: what the writer of a segment was told."""
        self.drains: set[str] = set()
        self.parents: dict[str, tuple[str, ...]] = {}
        self.starts: dict[str, Position] = {}
        """Of the roots: where the stream begins for Vortex."""
        self.gaps = 0
        self.vanished = False
        """Whether a log says that its shard was gone before it was read; its children may be, too, without a log."""
        self._hashes: dict[str, bytes] = {}
        self._names: dict[bytes, str] = {}
        self._in_gap: set[str] = set()
        self._past: set[str] = set()
        """Ancestors of the roots: they had vanished from the listing before the first start."""
        self._records, self._violated, self._now, self._retention = records, violated, now, retention_ms

    def add(self, shard: str, segment: Segment) -> None:
        """The next segment of the shard's log."""
        log = self.logs.setdefault(shard, [])
        before = log[-1] if log else None
        name = f"{shard} segment {segment.footer.n}"
        self._check_follows(name, before, segment)
        self._check_sums(name, segment.footer)
        self._check_content(name, before, segment)
        self._check_floors(name, before, segment)
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
        """`stream.json` was written, of a stream that has had these shards."""
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
        """The sequence number up to which the log tells what became of records."""
        log = self.logs.get(shard)
        return _number(log[-1].footer.position) if log else -1

    def covers(self, shard: str) -> list[Written]:
        """The records of the shard that are Vortex's to read: from where its log begins, or is to begin."""
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
        """Whether the record could not be read any more, and the log says so."""
        told = shard in self._in_gap or (self.vanished and shard not in self.logs)
        return told and record.put_ms + self._retention <= self._now()

    # I2, I5.

    def _check_follows(self, name: str, before: Segment | None, segment: Segment) -> None:
        footer, bad = segment.footer, self._violated
        if footer.prev != (before.digest if before else ""):
            bad("I2", f"{name}: follows {footer.prev!r}, which is not the segment before it")
        if before is None:
            self._check_first(name, footer)
            return
        earlier = before.footer
        if earlier.ended:
            bad("I2", f"{name}: follows the end of its log")
        if footer.start != earlier.position or _number(footer.position) < _number(earlier.position):
            bad("I2", f"{name}: {footer.start}..{footer.position} after {earlier.position}")
        if footer.watermark < earlier.watermark or footer.open_from < earlier.open_from:
            bad("I2", f"{name}: watermark or open_from goes back")
        if any(period < earlier.open_from for period in footer.periods):
            bad("I6", f"{name}: writes into a period before {earlier.open_from}, which its log had closed")
        owner = self.settings.get(footer.owner)
        if owner is not None and not footer.bump and footer.owner not in self.drains:
            allowed = footer.watermark - owner.hours.allowed_lateness
            bound = max(earlier.open_from, allowed - allowed % owner.publish.period)
            if footer.open_from > bound:
                bad("I6", f"{name}: open_from {footer.open_from} is later than its watermark allows")

    def _check_first(self, name: str, footer: Footer) -> None:
        parents = self.parents.get(footer.shard, ())
        missing = [parent for parent in parents if not self.ended(parent)]
        if missing:
            self._violated("I5", f"{name}: begins before its parents {missing} have ended")
            return
        ends = [self.logs[parent][-1].footer for parent in parents]
        if ends and footer.watermark != min(end.watermark for end in ends):
            self._violated("I2", f"{name}: its first watermark is not the least of its parents'")
        if ends and footer.open_from != max(end.open_from for end in ends):
            self._violated("I2", f"{name}: its first open_from is not the greatest of its parents'")
        unread = all(end.position.kind is Start.AT_TIMESTAMP for end in ends)
        if ends and footer.position != (ends[0].position if unread else _OLDEST):
            self._violated("I5", f"{name}: a child begins at {footer.position}")

    # I9.

    def _check_sums(self, name: str, footer: Footer) -> None:
        counts, total = footer.counts, Counts()
        for some in footer.periods.values():
            total.add(some)
        if counts.events != counts.accepted + counts.duplicates + counts.rejected:
            self._violated("I9", f"{name}: events are not accepted + duplicates + rejected")
        if any(getattr(total, each) != getattr(counts, each) for each in _SUMMED):
            self._violated("I9", f"{name}: its periods do not add up")

    # I1.

    def _check_content(self, name: str, before: Segment | None, segment: Segment) -> None:
        footer = segment.footer
        records = self._covered_by(name, footer)
        window = self.window_keys(footer.shard, before)
        accepted: list[tuple[Truth, Written]] = []
        duplicates, rejected = 0, []
        for record in records:
            for truth in record.truths:
                if truth.broken:
                    rejected.append(truth.number)
                elif truth.key in window:
                    duplicates += 1
                else:
                    window.add(truth.key)
                    accepted.append((truth, record))
        segment.keys = [truth.key for truth, _ in accepted]
        there = {truth.number: period for truth, period in self._lines(segment, rejected=False)}
        broken = sorted(truth.number for truth, _ in self._lines(segment, rejected=True))
        wanted = {truth.number for truth, _ in accepted}
        if there.keys() != wanted or footer.counts.accepted != len(accepted):
            odd = sorted(wanted ^ there.keys())
            self._violated("I1", f"{name}: accepted {footer.counts.accepted}, should be {len(accepted)}; {odd[:5]}")
        elif broken != sorted(rejected) or footer.counts.rejected != len(rejected):
            self._violated("I1", f"{name}: rejections {broken[:5]}, should be {sorted(rejected)[:5]}")
        elif footer.counts.duplicates != duplicates:
            self._violated("I9", f"{name}: {footer.counts.duplicates} duplicates, should be {duplicates}")
        elif footer.counts.untimed != (timeless := sum(truth.at is None for truth, _ in accepted)):
            self._violated("I9", f"{name}: {footer.counts.untimed} without a time, should be {timeless}")
        else:
            self._check_places(name, before, segment, accepted, there)
            self._check_ids(name, segment)

    def _covered_by(self, name: str, footer: Footer) -> list[Written]:
        """The records that the segment must be made of; what was trimmed may be missing where the log says so."""
        first, last = _number(footer.start), _number(footer.position)
        chosen = [one for one in self._since(footer.shard, footer.start) if first < one.sequence <= last]
        if footer.start.kind is Start.AT_TIMESTAMP and len(chosen) < footer.counts.records:
            # Whoever waits there before anything has come gets what is put next, whenever it says that it arrived.
            since = int(footer.start.value)
            put = [one for one in self._records.get(footer.shard, []) if since <= one.put_ms and one.sequence <= last]
            chosen = put[-footer.counts.records :]
        missing = len(chosen) - footer.counts.records
        if missing > 0:
            oldest = footer.start.kind is not Start.AFTER_SEQUENCE_NUMBER and not self.parents.get(footer.shard)
            told = oldest or footer.shard in self._in_gap or footer.gap
            if all(one.put_ms + self._retention <= self._now() for one in chosen[:missing]) and told:
                return chosen[missing:]
        if missing:
            self._violated("I1", f"{name}: {footer.counts.records} records of {len(chosen)} in {first}..{last}")
        return chosen

    def _lines(self, segment: Segment, *, rejected: bool) -> Iterable[tuple[Truth, int]]:
        for (folder, period), lines in segment.lines.items():
            if folder.startswith("_rejected/") is rejected:
                for line in lines:
                    yield Truth(_mark(line), line), period

    def _check_places(
        self,
        name: str,
        before: Segment | None,
        segment: Segment,
        accepted: list[tuple[Truth, Written]],
        there: dict[int, int],
    ) -> None:
        """Every event in its own period, or, where that is closed or to come, in the current one; bytes unchanged."""
        footer = segment.footer
        step = self.settings[footer.owner].publish.period if footer.owner in self.settings else 1
        latest = max(footer.watermark - footer.watermark % step, footer.open_from)
        earliest = before.footer.watermark if before else 0
        held = {(folder, line) for (folder, _), lines in segment.lines.items() for line in lines}
        for truth, record in accepted:
            period = there[truth.number]
            date, hour = date_and_hour(period)
            folder = f"customer={truth.customer}/event_type={truth.kind}/date={date}/hour={hour}"
            if (folder, truth.data) not in held:
                self._violated("I1", f"{name}: event {truth.number} is not as it came in {folder}")
            at = record.arrival_ms if truth.at is None else truth.at
            own = at - at % step
            moved = period != own and not (truth.at is None and abs(period - own) <= step)
            if period > latest or (moved and footer.open_from <= own <= earliest - step):
                self._violated("I1", f"{name}: event {truth.number} of {own} lies in period {period}")

    def _check_ids(self, name: str, segment: Segment) -> None:
        """The ids are those of the accepted, in order; one id a name, one name an id."""
        if len(segment.ids) != len(segment.keys):
            self._violated("I4", f"{name}: {len(segment.ids)} ids, {len(segment.keys)} accepted")
        for key, digest in zip(segment.keys, segment.ids, strict=False):
            if self._hashes.setdefault(key, digest) != digest or self._names.setdefault(digest, key) != key:
                self._violated("I4", f"{name}: the id of {key!r} is not the one it had")

    # The window.

    def window_keys(self, shard: str, before: Segment | None) -> set[str]:
        """The names that the segment after `before` is checked against."""
        return {key for one in self.window(self._needed(shard, before)) for key in one.keys}

    def window(self, floors: dict[str, int]) -> list[Segment]:
        """The segments that floors name."""
        return [one for log, floor in floors.items() for one in self.logs.get(log, [])[floor:]]

    def _needed(self, shard: str, before: Segment | None) -> dict[str, int]:
        if before is not None:
            return before.footer.floors
        floors: dict[str, int] = {}
        for parent in self.parents.get(shard, ()):
            for log, n in self.logs[parent][-1].footer.floors.items() if self.logs.get(parent) else ():
                floors[log] = min(floors.get(log, n), n)
        return floors

    def _check_floors(self, name: str, before: Segment | None, segment: Segment) -> None:
        """Remembered is exactly what is not older than the window, by watermarks; nothing is forgotten too early."""
        footer = segment.footer
        needed = dict(self._needed(footer.shard, before))
        if not footer.bump:
            needed.setdefault(footer.shard, footer.n)
        owner = self.settings.get(footer.owner)
        if before is not None and not footer.bump and owner is not None:
            oldest = footer.watermark - owner.dedup.window
            marks = {log: [one.footer.watermark for one in self.logs.get(log, [])] for log in needed}
            marks[footer.shard] = [*marks[footer.shard], footer.watermark]
            kept = {
                log: [n for n in range(floor, len(marks[log])) if marks[log][n] >= oldest]
                for log, floor in needed.items()
            }
            needed = {log: numbers[0] for log, numbers in kept.items() if numbers}
        if footer.floors != needed:
            self._violated("I4", f"{name}: its window is {footer.floors}, should be {needed}")


def _number(position: Position) -> int:
    return int(position.value) if position.kind is Start.AFTER_SEQUENCE_NUMBER else -1


def _mark(line: bytes) -> int:
    """The number of the event in a line; that of a rejection may be wrapped up in base64."""
    found = MARK.search(line)
    if found is None and b"data_base64" in line:
        found = MARK.search(base64.b64decode(json.loads(line)["data_base64"]))
    return int(found[1]) if found else -1

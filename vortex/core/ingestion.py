"""One shard's ingest as a pure state machine: pages in, drafts of segments out.

`take` does the work of a page: decode, hash, deduplicate, route, group. `cut` turns what was taken since the last cut
into a draft, which `Draft.seal` (in a thread) makes a segment of. Uncommitted state is never mended: after a lost race
the whole object is thrown away and built anew from the log.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import orjson
import xxhash

from vortex.core.decode import Decoded, Decoder, Rejected
from vortex.core.layout import Layout
from vortex.core.model import Page, Position, Record, ShardInfo, Start
from vortex.core.routing import PeriodReader, Rules, floor_period
from vortex.core.segment import Counts, Folder, Footer, Group, Sealed, folder_hash, seal
from vortex.core.shardlog import Lineage, Remembered
from vortex.core.window import Window

IDLE_MARGIN_MS = 5_000
"""How far behind the service's clock an idle shard's watermark stays: arrival times are not exact."""
_LINE_OVERHEAD = 41  # of a bytes object and its place in a list
_GROUP_OVERHEAD = 400  # of a key, a list and a dict's place: with thousands of partitions more than their lines


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about an event's way; `fingerprint` goes into every footer for diagnosis."""

    decoder: Decoder
    layout: Layout
    rules: Rules
    window_ms: int
    seed: int
    fingerprint: str = ""


@dataclass(slots=True)
class _Build:
    """What was taken since the last cut."""

    tag: int
    start: Position
    groups: dict[tuple[str, str, int], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    rejected: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    ids: list[bytes] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    periods: dict[int, Counts] = field(default_factory=lambda: defaultdict(Counts))
    buffered: int = 0


@dataclass(slots=True)
class Draft:
    """A segment before compression. `buffered` is its share of the memory limit, in bytes."""

    footer: Footer
    layout: Layout
    groups: dict[tuple[str, str, int], list[bytes]]
    rejected: dict[int, list[bytes]]
    ids: list[bytes]
    buffered: int

    def seal(self, prev: str) -> Sealed:
        """Compress and number it upon the segment with digest `prev`. Heavy: meant for a worker thread."""
        folders: dict[str, Folder] = {}
        groups: dict[tuple[str, int], Group] = {}

        def add(path: str, period: int, lines: list[bytes], customer: str, kind: str, rejected: bool) -> None:
            folder = folders.get(path)
            if folder is None:
                folder = folders[path] = Folder(path, folder_hash(path), customer, kind, rejected)
            # Two raw names may render to one folder; the folder is what counts.
            if (group := groups.get((path, period))) is not None:
                group.lines += lines
            else:
                groups[path, period] = Group(folder, period, lines)

        for (customer, kind, period), lines in self.groups.items():
            add(self.layout.folder(customer, kind, period), period, lines, customer, kind, False)
        for period, lines in self.rejected.items():
            add(self.layout.rejected_folder(period), period, lines, "", "", True)
        self.footer.prev = prev
        return seal(self.footer, groups.values(), b"".join(self.ids))


class ShardIngest:
    """The state of one shard task. Built from the log's head by `resumed` in `vortex.ingest`."""

    def __init__(
        self,
        shard: ShardInfo,
        policy: Policy,
        *,
        n: int,
        position: Position,
        watermark: int,
        open_from: int,
        window: Window,
        lineage: Lineage,
    ) -> None:
        self.shard = shard
        self.position = position
        self.watermark = watermark
        self.open_from = open_from
        self.window = window
        self.lineage = lineage
        self.next_n = n + 1
        self._policy = policy
        self._reader = PeriodReader(policy.rules.period_ms)
        self._prefixes: dict[str, bytes] = {}
        self._cut_open_from = open_from
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
        """Whether open_from has moved since the last cut."""
        return self.open_from > self._cut_open_from

    @property
    def pending(self) -> Counts:
        """What was taken since the last cut."""
        return self._build.counts

    def take(self, page: Page) -> Counts:
        """Take a page; records at or before the position are skipped. Returns what it held."""
        records = self._fresh_records(page.records)
        if not records:
            return Counts()
        decoded = self._policy.decoder.page(records)
        before = msgspec.structs.replace(self._build.counts)
        self._take_events(decoded, records, page.server_ms)
        self._advance(min(int(max(record.arrival for record in records) * 1000), page.server_ms))
        for rejected in decoded.rejected:
            self._reject(rejected, records[rejected.record])
        counts = self._build.counts
        counts.records += len(records)
        counts.events = counts.accepted + counts.duplicates + counts.rejected
        self.position = Position(Start.AFTER_SEQUENCE_NUMBER, records[-1].sequence)
        return Counts(
            *(getattr(counts, name) - getattr(before, name) for name in Counts.__struct_fields__),
        )

    def idle(self, server_ms: int) -> None:
        """The shard is empty up to now: its watermark follows the service's clock."""
        self._advance(server_ms - IDLE_MARGIN_MS)

    def cut(
        self,
        owner: str,
        now_ms: int,
        *,
        children: tuple[ShardInfo, ...] | None = None,
        gap: str = "",
        open_from: int | None = None,
    ) -> Draft:
        """Close what is being built as the next segment. `children` (perhaps empty) ends the log.

        `open_from` moves the bound further than the watermark does (draining).
        """
        build = self._build
        if open_from is not None:
            self.open_from = max(self.open_from, open_from)
        self.lineage.segments.append(Remembered(self.shard.id, self.next_n, self.watermark, build.tag))
        # Segment granularity: what the next segment is checked against depends on this one's watermark alone.
        self.window.forget(self.lineage.expire(self.watermark - self._policy.window_ms))
        footer = Footer(
            shard=self.shard.id,
            n=self.next_n,
            prev="",
            owner=owner,
            start=build.start,
            position=self.position,
            watermark=self.watermark,
            open_from=self.open_from,
            created=now_ms,
            counts=build.counts,
            periods=_per_period(build),
            folders=[],
            members=b"",
            ids=0,
            ids_digest=b"",
            data_bytes=0,
            floors=self.lineage.floors(),
            ended=children is not None,
            children=children or (),
            gap=gap,
            settings=self._policy.fingerprint,
        )
        self.next_n += 1
        self._cut_open_from = self.open_from
        self._build = self._fresh()
        return Draft(footer, self._policy.layout, build.groups, build.rejected, build.ids, build.buffered)

    def _fresh(self) -> _Build:
        return _Build(self.window.open_segment(), self.position)

    def _fresh_records(self, records: list[Record]) -> list[Record]:
        if self.position.kind is not Start.AFTER_SEQUENCE_NUMBER or not records:
            return records
        done = int(self.position.value)
        if int(records[0].sequence) > done:
            return records
        return [record for record in records if int(record.sequence) > done]

    def _advance(self, to: int) -> None:
        if to > self.watermark:
            self.watermark = to
            self.open_from = max(self.open_from, self._policy.rules.open_from(to))

    def _keys(self, decoded: Decoded) -> bytes:
        """Sixteen bytes an event: hash of the length-prefixed customer, and the id (or, without one, the line)."""
        seed, digest, prefixes = self._policy.seed, xxhash.xxh3_128_digest, self._prefixes
        keys = []
        for customer, key, line in zip(decoded.customers, decoded.ids, decoded.lines, strict=True):
            prefix = prefixes.get(customer)
            if prefix is None:
                if len(prefixes) > 100_000:
                    prefixes.clear()
                name = customer.encode("utf-8", "surrogatepass")
                prefix = prefixes[customer] = len(name).to_bytes(4, "little") + name
            if key is None:
                keys.append(digest(prefix + line, seed ^ 1))
            else:
                keys.append(digest(prefix + key.encode("utf-8", "surrogatepass"), seed))
        return b"".join(keys)

    def _take_events(self, decoded: Decoded, records: list[Record], server_ms: int) -> None:
        """Hash, deduplicate and group the page's events, column by column."""
        if not decoded.lines:
            return
        build = self._build
        keys = self._keys(decoded)
        fresh = self.window.claim(build.tag, keys)
        build.ids.append(np.frombuffer(keys, dtype="V16")[np.array(fresh)].tobytes())
        groups_before = len(build.groups)
        at = list(map(self._reader.read, decoded.times))
        if self._all_open(at, records, server_ms):
            duplicates, late, early = self._group(decoded, at, fresh), 0, 0
        else:
            duplicates, late, early = self._route(decoded, at, fresh, records, server_ms)
        counts, accepted = build.counts, len(fresh) - duplicates
        size = sum(compress(map(len, decoded.lines), fresh))
        counts.accepted += accepted
        counts.duplicates += duplicates
        counts.late += late
        counts.early += early
        counts.bytes += size + accepted
        build.buffered += size + _LINE_OVERHEAD * accepted + _GROUP_OVERHEAD * (len(build.groups) - groups_before)

    def _all_open(self, at: list[int | None], records: list[Record], server_ms: int) -> bool:
        """Whether every event of the page belongs to a period that is open from its first record to its last."""
        periods = {period for period in at if period is not None}
        if None in at or not periods:
            return False
        rules = self._policy.rules
        latest = max(self.watermark, min(int(max(record.arrival for record in records) * 1000), server_ms))
        open_from = max(self.open_from, rules.open_from(latest))
        return min(periods) >= open_from and max(periods) <= floor_period(self.watermark, rules.period_ms)

    def _group(self, decoded: Decoded, at: list[int | None], fresh: list[bool]) -> int:
        """The ordinary page: nothing is late or early, so lines only need their groups. How many were duplicates."""
        groups = self._build.groups
        rows: Any = zip(decoded.lines, decoded.customers, decoded.types, at, strict=True)
        if all(fresh):
            for line, customer, kind, period in rows:
                groups[customer, kind, period].append(line)
            return 0
        duplicates = 0
        for new, (line, customer, kind, period) in zip(fresh, rows, strict=True):
            if new:
                groups[customer, kind, period].append(line)
            else:
                duplicates += 1
                self._build.periods[period].duplicates += 1
        return duplicates

    def _route(
        self, decoded: Decoded, at: list[int | None], fresh: list[bool], records: list[Record], server_ms: int
    ) -> tuple[int, int, int]:
        """A page with late or early events, or over which a period closes: event by event, as W goes on.

        Duplicates, late and early ones.
        """
        rules = self._policy.rules
        period_ms = rules.period_ms
        groups, periods = self._build.groups, self._build.periods
        watermark, open_from = self.watermark, self.open_from
        now_period = floor_period(watermark, period_ms)
        last, arrived, turn = -1, 0, watermark
        late = early = duplicates = 0
        rows = zip(decoded.lines, decoded.customers, decoded.types, at, decoded.records, fresh, strict=True)
        for line, customer, kind, period, index, new in rows:
            if index != last:
                last = index
                arrived = min(int(records[index].arrival * 1000), server_ms)
                if arrived > watermark:
                    watermark = arrived
                    if watermark >= turn:  # a period boundary was passed, of now or of what is still open
                        now_period = floor_period(watermark, period_ms)
                        open_from = max(open_from, rules.open_from(watermark))
                        turn = rules.next_turn(watermark)
            if period is None:
                period = arrived - arrived % period_ms
            shift = -1 if period < open_from else 1 if period > now_period else 0
            if shift:
                period = max(now_period, open_from)
            if not new:
                duplicates += 1
                periods[period].duplicates += 1
                continue
            if shift < 0:
                late += 1
                periods[period].late += 1
            elif shift > 0:
                early += 1
                periods[period].early += 1
            groups[customer, kind, period].append(line)
        self._advance(watermark)
        return duplicates, late, early

    def _reject(self, rejected: Rejected, record: Record) -> None:
        build = self._build
        period = max(floor_period(self.watermark, self._policy.rules.period_ms), self.open_from)
        line = rejection_line(rejected, record, self.shard.id)
        build.rejected[period].append(line)
        build.periods[period].rejected += 1
        build.counts.rejected += 1
        build.buffered += len(line) + _LINE_OVERHEAD


def rejection_line(rejected: Rejected, record: Record, shard: str) -> bytes:
    """One JSON object: why, where from, and the original bytes as `data` (text) or `data_base64`."""
    line: dict[str, Any] = {
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "shard": shard,
        "sequence": record.sequence,
        "sub": rejected.sub,
        "arrival": record.arrival,
    }
    try:
        line["data"] = rejected.data.decode()
    except UnicodeDecodeError:
        line["data_base64"] = base64.b64encode(rejected.data).decode()
    return orjson.dumps(line)


def _per_period(build: _Build) -> dict[int, Counts]:
    """The counts of each period; what the lines themselves tell is added up here, once a segment."""
    periods = build.periods
    for (_, _, period), lines in build.groups.items():
        counts = periods[period]
        counts.accepted += len(lines)
        counts.bytes += sum(map(len, lines)) + len(lines)
    for counts in periods.values():
        counts.events = counts.accepted + counts.duplicates + counts.rejected
    return dict(periods)

"""One shard's ingest as a pure state machine: pages in, drafts of segments out.

`take` does the work of a page: decode, hash, deduplicate, route, group. `cut` turns what was taken since the last cut
into a draft, which `Draft.seal` (in a thread) makes a segment of. Uncommitted state is never mended: after a lost race
the whole object is thrown away and built anew from the log.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import compress, repeat
from operator import add, attrgetter
from typing import Any

import msgspec
import orjson
import xxhash

from vortex.core.decode import Decoded, Decoder, Rejected
from vortex.core.kpl import rest
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


_arrival = attrgetter("arrival")


class _Prefixes(dict[str, str]):
    """The customer as a key's beginning: with its length, so that no customer and id run into another pair."""

    def __missing__(self, customer: str) -> str:
        if len(self) > 100_000:
            self.clear()
        prefix = self[customer] = f"{len(customer)}:{customer}"
        return prefix


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
    pages: list[list[bytes]] = field(default_factory=list)
    """The lines in the order they came in; see `Draft.seal`."""
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
    pages: list[list[bytes]]
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
        sealed = seal(self.footer, groups.values(), b"".join(self.ids))
        # Lines were allocated page by page, and go in that order, not by group: neighbours then join into one free
        # piece of memory, where the C library would otherwise keep, sort and search thousands of small holes.
        self.pages.clear()
        return sealed


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
        self._prefixes = _Prefixes()
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
        latest = min(int(max(map(_arrival, records)) * 1000), page.server_ms)
        self._take_events(decoded, records, page.server_ms, latest)
        self._advance(latest)
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
            periods=dict(build.periods),
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
        return Draft(footer, self._policy.layout, build.groups, build.rejected, build.ids, build.pages, build.buffered)

    def _fresh(self) -> _Build:
        return _Build(self.window.open_segment(), self.position)

    def _fresh_records(self, records: list[Record]) -> list[Record]:
        if not self.position.by_record or not records:
            return records
        done = int(self.position.value)
        if int(records[0].sequence) > done:
            return records
        fresh = [record for record in records if int(record.sequence) > done]
        if self.position.taken:  # by another application, of a KPL aggregate
            parts = [(r, rest(r.data, self.position.taken)) for r in records if int(r.sequence) == done]
            fresh = [msgspec.structs.replace(r, data=data) for r, data in parts if data is not None] + fresh
        return fresh

    def _advance(self, to: int) -> None:
        if to > self.watermark:
            self.watermark = to
            self.open_from = max(self.open_from, self._policy.rules.open_from(to))

    def _keys(self, decoded: Decoded) -> list[bytes]:
        """Sixteen bytes an event: hash of the length-prefixed customer, and the id (or, without one, the line)."""
        seed, digest, prefixes = self._policy.seed, xxhash.xxh3_128_digest, self._prefixes
        if None not in decoded.ids:
            texts: Any = map(add, map(prefixes.__getitem__, decoded.customers), decoded.ids)
            return list(map(digest, map(str.encode, texts), repeat(seed)))
        keys = []
        for customer, key, line in zip(decoded.customers, decoded.ids, decoded.lines, strict=True):
            if key is None:
                keys.append(digest(prefixes[customer].encode() + line, seed ^ 1))
            else:
                keys.append(digest((prefixes[customer] + key).encode(), seed))
        return keys

    def _take_events(self, decoded: Decoded, records: list[Record], server_ms: int, latest: int) -> None:
        """Hash, deduplicate and group the page's events, column by column."""
        if not decoded.lines:
            return
        build, groups_before = self._build, len(self._build.groups)
        keys = self._keys(decoded)
        fresh = self.window.claim(build.tag, keys)
        accepted = sum(fresh)
        new_lines = decoded.lines if accepted == len(fresh) else list(compress(decoded.lines, fresh))
        build.pages.append(new_lines)
        build.ids.append(b"".join(keys if accepted == len(fresh) else compress(keys, fresh)))
        at = self._reader.column(decoded.times)
        if self._all_open(at, latest):
            self._group(decoded, at, fresh, new_lines)
            late = early = 0
        else:
            late, early = self._route(decoded, at, fresh, records, server_ms)
        counts, size = build.counts, sum(map(len, new_lines))
        counts.accepted += accepted
        counts.duplicates += len(fresh) - accepted
        counts.late += late
        counts.early += early
        counts.bytes += size + accepted
        build.buffered += size + _LINE_OVERHEAD * accepted + _GROUP_OVERHEAD * (len(build.groups) - groups_before)

    def _all_open(self, at: list[int | None], latest: int) -> bool:
        """Whether every event of the page belongs to a period that is open from its first record to its last."""
        known = {period for period in set(at) if period is not None}
        if not known or None in at:
            return False
        rules = self._policy.rules
        open_from = max(self.open_from, rules.open_from(max(self.watermark, latest)))
        return min(known) >= open_from and max(known) <= floor_period(self.watermark, rules.period_ms)

    def _group(self, decoded: Decoded, at: list[Any], fresh: list[bool], new_lines: list[bytes]) -> None:
        """The ordinary page: nothing is late or early, so lines only need their groups."""
        groups = self._build.groups
        places: Any = zip(decoded.customers, decoded.types, at, strict=True)
        if len(new_lines) < len(fresh):
            for period, number in Counter(at[i] for i, new in enumerate(fresh) if not new).items():
                self._build.periods[period].duplicates += number
            places = compress(places, fresh)
        for line, place in zip(new_lines, places, strict=True):
            groups[place].append(line)

    def _route(
        self, decoded: Decoded, at: list[int | None], fresh: list[bool], records: list[Record], server_ms: int
    ) -> tuple[int, int]:
        """A page with late or early events, or over which a period closes: event by event, as W goes on.

        How many were late, and how many early.
        """
        rules = self._policy.rules
        period_ms = rules.period_ms
        groups, periods = self._build.groups, self._build.periods
        watermark, open_from = self.watermark, self.open_from
        now_period = floor_period(watermark, period_ms)
        last, arrived, turn = -1, 0, watermark
        late = early = 0
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
        return late, early

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

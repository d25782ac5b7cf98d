"""Reads the events of a page by column, each with its key and period: in C if possible, else by `Decoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, repeat
from operator import add, attrgetter
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vortex.core.decode.containers import Opened, RecordParts, open_record, plain_parts, refused_whole
from vortex.core.decode.decoder import Decoded, Decoder
from vortex.core.decode.diagnosis import time_value
from vortex.core.decode.event_columns import Events, in_one, in_order, merged
from vortex.core.decode.event_pages import STEP_BYTES, STEP_PARTS, EventPage, Slice, batches, is_large
from vortex.core.decode.fields import NAMES, Fields
from vortex.core.decode.fields import Paths as FieldPaths
from vortex.core.decode.interning import Names
from vortex.core.decode.kpl import aggregates
from vortex.core.decode.limits import DEFAULT, Limits, Pot
from vortex.core.decode.masked_events import bounds_of, masked_events
from vortex.core.decode.reasons import OverBudget
from vortex.core.decode.records import Records
from vortex.core.decode.rejections import Rejected, as_one, lines_bytes
from vortex.core.decode.steps import Steps
from vortex.core.decode.surrogates import may_have_one
from vortex.core.native import pure, steps
from vortex.core.native.contract import DEFER_KEY, DEFER_TIME, DEFERRED, NO_ID, NO_PERIOD, Paths
from vortex.core.native.contract import Steps as Native
from vortex.core.periods import PeriodReader

_KEY = np.dtype("V16")
_MOST_NAMES = 8192
"""Maximum names that a reader keeps before it starts again: some streams have an unlimited number of types. A name
takes 400 bytes, in each of perhaps 50 shards.
"""
_MOST_CHARACTERS = 4 << 20
"""Maximum total characters of the names that it keeps."""
_LONG = 100
"""Prefixes of customers longer than this many characters are not cached."""
_STEP_DEFERRED, _STEP_DEFERRED_BYTES = 10_000, 1 << 18
"""Deferred events per step, and bytes read for them: a pattern may take a microsecond for each byte of a time, and an
event with an unreadable time is read for another one.
"""


class _Prefixes(dict[str, str]):
    """The customer as a key's prefix, with its length, so that no two pairs of customer and id give the same key."""

    def __missing__(self, customer: str) -> str:
        prefix = f"{len(customer)}:{customer}"
        if len(customer) <= _LONG:
            if len(self) > 100_000:
                self.clear()
            self[customer] = prefix
        return prefix


class EventReader:
    """Reads pages for one shard. A key is the XXH3-128 of customer (with its length before it) and id, or without an id
    of customer and line.
    """

    def __init__(self, decoder: Decoder, period_ms: int, seed: int, limits: Limits = DEFAULT) -> None:
        self._decoder, self._period_ms, self._seed, self._limits = decoder, period_ms, seed, limits
        self._periods = PeriodReader(period_ms, decoder.formats)
        self._other_times = len(decoder.paths["time"]) > 1
        self._prefixes = _Prefixes()
        self._names = Names(seed)
        self._pot = Pot(limits)
        self._native, self._paths = _native_paths(decoder.fields, decoder.paths)

    @property
    def decompressed(self) -> int:
        """Bytes that the record at hand has decompressed to."""
        return self._pot.decompressed

    def page(self, records: Records) -> Events:
        """All events and rejections of the page, in order, without pauses."""
        found = [one.events for one in self.slices(records) if one is not None]
        return in_one(found) if found else self._none()

    def slices(self, records: Records) -> Iterator[Slice | None]:
        """All events and rejections of the page, in order, in slices; yields None where other tasks may run.

        Yields whole records; events of a record only after it is known that no limit refuses it.
        """
        self._forget_names()
        aggregate = aggregates(records.data, records.bounds)
        plain, others = yield from self._plainly(records.data, records.bounds, aggregate)
        page, pot = EventPage(plain, records, others[-1] if others else -1), Pot(self._limits)
        self._pot = pot
        for some in batches(records, others):
            datas = [records.datas[index] for index in some]
            if (group := plain_parts(datas, some)) is not None:
                yield from self._slices_of(page, group)
            else:
                yield from self._apart(page, some, pot)
                pot.decompressed = 0
        yield from page.plain_up_to(len(records))

    def _apart(self, page: EventPage, some: Sequence[int], pot: Pot) -> Iterator[Slice | None]:
        """Process records that must be split; small ones together.

        Keeps no decompressed data after a slice that is not `busy`: another page may have some to decompress, too.
        """
        group, opened = RecordParts(owners=[]), None
        for index in some:
            self._forget_names(page)
            data = page.records.datas[index]
            try:
                opened = yield from open_record(data, self._limits, pot)
                found = yield from self._of_text(opened, index)
                parts = RecordParts() if found else (yield from opened.split())
            except OverBudget as over:
                found, parts = [], refused_whole(data, over)
            opened = None
            if found or (group.data and is_large(group.data, parts.data)):
                yield from self._slices_of(page, group, busy=bool(found) or is_large(parts.data))
                group = RecordParts(owners=[])
            if found:
                yield from page.plain_up_to(index, busy=True)
                self._forget_names(page)  # they stay valid until these events are processed
                yield page.give(found.pop(), index, index + 1)
            group.append(parts, index)
            if is_large(group.data):
                yield from self._slices_of(page, group)
                group = RecordParts(owners=[])
        yield from self._slices_of(page, group)

    def _forget_names(self, page: EventPage | None = None) -> None:
        if len(self._names) > _MOST_NAMES or self._names.characters > _MOST_CHARACTERS:
            if page is not None:
                page.let_go(self._names)
            self._names = Names(self._seed)
            self._prefixes.clear()

    def _of_text(self, opened: Opened, index: int) -> Steps[list[Events]]:
        """The events of a record with one large decompressed text, if it can be read directly; else none."""
        if len(opened.texts) != 1 or opened.refused or len(opened.texts[0]) < STEP_BYTES // 4:
            return []
        text = opened.texts[0]
        bounds = np.array([0, len(text)], dtype=np.int64)
        events, others = yield from self._plainly(text, bounds, np.zeros(1, dtype=np.bool_))
        events.record = np.full(len(events), index, dtype=np.int32)
        return [] if others else [events]

    def _slices_of(self, page: EventPage, parts: RecordParts, *, busy: bool = False) -> Iterator[Slice | None]:
        """The events of these parts, with those of plain records in between; before them, all earlier ones. `busy`:
        others that follow them are in memory, too.
        """
        if not parts.data:
            return
        found = yield from self._read(parts, page.records)
        first, upto = page.around(parts) if len(found) == 1 else (parts.owners[0], parts.owners[-1] + 1)
        parts.data.clear()
        large = len(found) > 1 or len(found[0].text) > STEP_BYTES or len(found[0].rejected) > STEP_PARTS
        yield from page.plain_up_to(first, busy=busy or large)
        if len(found) == 1:
            found = [merged(page.between(first, upto), found[0])]
        found.reverse()
        while found:
            yield page.give(found.pop(), first, upto, last=not found, busy=busy)

    def _read(self, parts: RecordParts, records: Records) -> Steps[list[Events]]:
        """The events of several records together, or of one large record in several pieces."""
        if not is_large(parts.data):
            events = yield from self._of_parts(parts)
            yield
            return [self._without_floods(events, parts, records)]
        record, found = parts.owners[0], list[Events]()
        data, limit = records.datas[record], self._most_rejections(records, record)
        left = limit
        for some in parts.several(STEP_PARTS, STEP_BYTES):
            events = yield from self._of_parts(some)
            found.append(events)
            left -= lines_bytes(events.rejected, left)
            if left < 0:
                none = self._none()
                none.rejected = [as_one(events.rejected, record, data, limit, alone=len(parts.data) == 1)]
                return [none]
            yield
        return found

    def _without_floods(self, events: Events, parts: RecordParts, records: Records) -> Events:
        """Replace the rejections of a record by one if they are too large."""
        if lines_bytes(events.rejected, self._limits.rejections) <= self._limits.rejections:
            return events
        kept: list[Rejected] = []
        for record, several in groupby(events.rejected, key=attrgetter("record")):
            its, limit = list(several), self._most_rejections(records, record)
            if lines_bytes(its, limit) > limit:
                alone = parts.owners.count(record) == 1
                its = [as_one(its, record, records.datas[record], limit, alone=alone)]
                events = events.rows(events.record != record)
            kept += its
        events.rejected = kept
        return events

    def _most_rejections(self, records: Records, record: int) -> int:
        return max(self._limits.rejections, 2 * len(records.datas[record]))

    def _none(self) -> Events:
        none = np.empty(0, dtype=np.int64)
        numbers = none.astype(np.int32)
        return Events(b"", none, numbers, numbers, numbers, self._names, np.empty(0, dtype=_KEY), none)

    def _of_parts(self, parts: RecordParts) -> Steps[Events]:
        """The events of parts; record numbers are those of `owners`."""
        if parts.joined is not None:  # else each is an original record that was already tried
            return self._slowly(self._decoder.parts(parts))
        text = b"".join(parts.data)
        bounds = bounds_of(parts.data)
        # No part is an aggregate.
        events, others = yield from self._plainly(text, bounds, np.zeros(len(parts.data), dtype=np.bool_))
        if others:
            refused = {place: parts.refused[part] for place, part in enumerate(others) if part in parts.refused}
            alone = RecordParts([parts.data[part] for part in others], range(len(others)), refused)
            slow = self._slowly(self._decoder.parts(alone))
            slow.record = np.array(others, dtype=np.int32)[slow.record]
            for rejected in slow.rejected:
                part = others[rejected.record]
                rejected.record, rejected.sub = parts.owners[part], parts.sub(part)
            events = merged(events, slow)
        events.record = np.array(parts.owners, dtype=np.int32)[events.record]
        return events

    def _plainly(
        self, text: bytes, bounds: NDArray[np.int64], aggregate: NDArray[np.bool_]
    ) -> Steps[tuple[Events, list[int]]]:
        """The events of plain records, and the numbers of the other records."""
        events, others = yield from self._natively(text, text, bounds, aggregate)
        tried = [record for record in others if not aggregate[record]]
        if not tried or self._decoder.fields.lone_surrogates == "reject" or not (yield from may_have_one(text)):
            return events, others
        found = yield from masked_events(text, bounds, tried, self._natively)
        read = set(found.record.tolist())
        return in_order(text, events, found), [record for record in others if record not in read]

    def _natively(
        self, text: bytes, shown: bytes, bounds: NDArray[np.int64], aggregate: NDArray[np.bool_] | None = None
    ) -> Steps[tuple[Events, list[int]]]:
        """As `_plainly`, of a text that is read as `shown`."""
        if aggregate is None:
            aggregate = np.zeros(len(bounds) - 1, dtype=np.bool_)
        names = self._names
        most = self._limits.events
        found = self._native.events(
            self._paths, names.table, shown, bounds, aggregate, self._period_ms, self._seed, most
        )
        start, size, record, name, keys, period, deferred, new, others = found
        events = Events(
            text if start else b"",
            np.frombuffer(start, dtype=np.int64),
            np.frombuffer(size, dtype=np.int32),
            np.frombuffer(record, dtype=np.int32),
            names.of_table(np.frombuffer(name, dtype=np.int32), new),
            names,
            np.frombuffer(keys, dtype=_KEY),
            np.frombuffer(period, dtype=np.int64),
        )
        if deferred:
            questions = np.frombuffer(deferred, dtype=DEFERRED)
            events.keys, events.period = events.keys.copy(), events.period.copy()
            read = questions["time_size"] + (events.size[questions["row"]] if self._other_times else 0)
            for some in _in_steps(questions, read):
                self._answer(events, some)
                if len(some) < len(questions):
                    yield
        return events, others

    def _answer(self, events: Events, deferred: NDArray[np.void]) -> None:
        """Fill in the keys and periods that are left to Python."""
        text, start, names = events.text, events.start[deferred["row"]], events.names
        if len(which := np.flatnonzero(deferred["what"] & DEFER_KEY)):
            row, without = deferred["row"][which], (deferred["what"][which] & NO_ID).astype(np.bool_)
            if without.any():
                if events.unidentified is None:
                    events.unidentified = np.zeros(len(events), np.bool_)
                events.unidentified[row] = without
            at = start[which] + np.where(without, 0, deferred["id_at"][which])
            size = np.where(without, events.size[row], deferred["id_size"][which])
            some = [names[name][0] for name in events.name[row].tolist()], without.tolist(), _slices(text, at, size)
            found = [
                self._key(customer, None, line) if none else self._key(customer, line.decode(), b"")
                for customer, none, line in zip(*some, strict=True)
            ]
            events.keys[row] = np.frombuffer(b"".join(found), dtype=_KEY)
        if len(which := np.flatnonzero(deferred["what"] & DEFER_TIME)):
            texts = _slices(text, start[which] + deferred["time_at"][which], deferred["time_size"][which])
            row = deferred["row"][which]
            lines = partial(_slices, text, events.start[row], events.size[row])
            events.period[row] = self._periods_of(list(map(time_value, texts)), lines)

    def _slowly(self, decoded: Decoded) -> Events:
        lines, count = decoded.lines, len(decoded.lines)
        size = np.fromiter(map(len, lines), np.int32, count)
        name = self._names.number(zip(decoded.customers, decoded.types, strict=True))
        return Events(
            b"".join(lines),
            np.cumsum(size, dtype=np.int64) - size,
            size,
            np.array(decoded.records, dtype=np.int32),
            name,
            self._names,
            np.frombuffer(b"".join(self._keys(decoded)), dtype=_KEY),
            self._periods_of(decoded.times, lambda: lines),
            decoded.rejected,
            np.array([key is None for key in decoded.ids], np.bool_) if None in decoded.ids else None,
        )

    def _periods_of(self, times: list[Any], lines: Callable[[], list[bytes]]) -> NDArray[np.int64]:
        """The periods of these times, or, if one is unreadable, of other times in the line."""
        periods = self._periods.column(times)
        if self._other_times and None in periods:
            every = lines()
            for at, time in enumerate(times):
                if periods[at] is None and time is not None:
                    several = map(self._periods.read, self._decoder.times(every[at]))
                    periods[at] = next((period for period in several if period is not None), None)
        return np.array([NO_PERIOD if period is None else period for period in periods], dtype=np.int64)

    def _keys(self, decoded: Decoded) -> list[bytes]:
        seed, digest, prefixes = self._seed, xxhash.xxh3_128_digest, self._prefixes
        if None not in decoded.ids:
            texts: Any = map(add, map(prefixes.__getitem__, decoded.customers), decoded.ids)
            return list(map(digest, map(str.encode, texts), repeat(seed)))
        return list(map(self._key, decoded.customers, decoded.ids, decoded.lines))

    def _key(self, customer: str, key: str | None, line: bytes) -> bytes:
        if key is None:
            return xxhash.xxh3_128_digest(self._prefixes[customer].encode() + line, self._seed ^ 1)
        return xxhash.xxh3_128_digest((self._prefixes[customer] + key).encode(), self._seed)


def event_key(customer: str, key: str, seed: int) -> bytes:
    """The key of an event with this customer and id, as `EventReader` makes it."""
    return xxhash.xxh3_128_digest(f"{len(customer)}:{customer}{key}".encode(), seed)


def _in_steps(questions: NDArray[np.void], read: NDArray[np.integer]) -> Iterator[NDArray[np.void]]:
    """Runs of deferred events with limited number and bytes to `read`; a larger event is a run by itself."""
    upto = np.cumsum(read, dtype=np.int64)
    at = 0
    while at < len(questions):
        most = (upto[at - 1] if at else 0) + _STEP_DEFERRED_BYTES
        end = min(at + _STEP_DEFERRED, max(at + 1, int(np.searchsorted(upto, most, side="right"))))
        yield questions[at:end]
        at = end


def _slices(text: bytes, start: NDArray[np.integer], size: NDArray[np.integer]) -> list[bytes]:
    return [text[at:end] for at, end in zip(start.tolist(), (start + size).tolist(), strict=True)]


def _native_paths(fields: Fields, paths: FieldPaths) -> tuple[Native, Paths]:
    """The module that reads events, and its prepared paths.

    Python, if C does not support the paths: if one path continues at the end of another, or there are too many.
    """
    nodes: list[dict[str, tuple[int, int]]] = [{}]
    numbers: dict[tuple[str, ...], int] = {}
    for path in (path for name in NAMES for path in paths[name]):
        at = 0
        for part in path[:-1]:
            below, leaf = nodes[at].setdefault(part, (len(nodes), -1))
            if leaf >= 0:
                return pure, None
            if below == len(nodes):
                nodes.append({})
            at = below
        number = numbers.setdefault(path, len(numbers))
        if nodes[at].setdefault(path[-1], (-1, number)) != (-1, number):
            return pure, None
    table = [[(key.encode(), *to) for key, to in node.items()] for node in nodes]
    several = [[numbers[path] for path in paths[name]] for name in NAMES]
    missing, formats = fields.missing_id == "hash", bool(fields.time_format)
    try:
        return steps, steps.paths(table, several, missing, formats, fields.max_bytes)
    except ValueError:
        return pure, None

"""Decodes a sample of records as a worker would, and says what becomes of each event. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vortex.core.compression import Compression
from vortex.core.decode.codecs import format_name
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.event_columns import Events
from vortex.core.decode.events import EventReader
from vortex.core.decode.kpl import deaggregate
from vortex.core.decode.limits import Limits
from vortex.core.decode.reasons import Reason
from vortex.core.decode.records import Records
from vortex.core.layout import Layout, object_key
from vortex.core.model import Record
from vortex.core.native.contract import NO_PERIOD
from vortex.core.periods import floor_period
from vortex.core.times import EARLIEST_MS, LATEST_MS
from vortex.lookup.fields import FieldSample

_NAMES = 10_000
"""Maximum names to count; all others are counted together."""
_FOLDERS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings that decide what becomes of an event."""

    decoder: Decoder
    layout: Layout
    period_ms: int
    limits: Limits
    compression: Compression = Compression.GZIP


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one event: the key of the object it would be written to, or the reason of its rejection.

    `data` are its bytes. `timed` is False if the event has no readable time and counts by its arrival; `again` is True
    if an earlier event of the sample has the same customer and id.
    """

    record: int
    data: bytes
    key: str = ""
    reason: Reason | None = None
    detail: str = ""
    timed: bool = True
    again: bool = False


@dataclass(slots=True)
class Sample:
    """What was found, over all records that were given to `take`."""

    reading: Reading
    records: int = 0
    accepted: int = 0
    again: int = 0
    untimed: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    customers: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    """Keys of objects in different folders."""
    fields: FieldSample = field(init=False)
    _reader: EventReader = field(init=False)
    _seen: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        reading = self.reading
        self.fields = FieldSample(reading.decoder.fields)
        self._reader = EventReader(reading.decoder, reading.period_ms, 0, reading.limits)

    @property
    def events(self) -> int:
        """Accepted and rejected ones."""
        return self.accepted + self.reasons.total()

    def take(self, records: Sequence[Record]) -> Iterator[Fate]:
        """Decode these records. Yields what becomes of each event, in order of records."""
        columns = Records.of(records)
        self.records += len(columns)
        self.formats.update(map(format_of, columns.datas))
        events = self._reader.page(columns)
        rejected = sorted(events.rejected, key=lambda one: (one.record, one.sub))
        at = 0
        for fate in self._accepted(events, columns):
            while at < len(rejected) and rejected[at].record < fate.record:
                yield self._reject(rejected[at].record, rejected[at].data, rejected[at].reason, rejected[at].detail)
                at += 1
            yield fate
        for one in rejected[at:]:
            yield self._reject(one.record, one.data, one.reason, one.detail)

    def _reject(self, record: int, data: bytes, reason: Reason, detail: str) -> Fate:
        self.reasons[reason] += 1
        self.fields.add(data)
        return Fate(record, data, reason=reason, detail=detail)

    def _accepted(self, events: Events, records: Records) -> Iterator[Fate]:
        keys = events.keys.tobytes()
        columns = (events.record, events.start, events.size, events.name, events.period)
        for at, (record, start, size, name, period) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            line = events.text[start : start + size]
            customer, kind = events.names[name]
            self.fields.add(line)
            key = keys[16 * at : 16 * at + 16]
            again = key in self._seen
            self._seen.add(key)
            timed = period != NO_PERIOD
            if not timed:
                arrival = min(max(EARLIEST_MS, records.arrivals[record] * 1000), LATEST_MS)
                period = floor_period(int(arrival), self.reading.period_ms)
            self._count(customer, kind, again, timed)
            folder = self.reading.layout.folder(customer, kind, period)
            path = object_key(folder, period, 0, self.reading.compression)
            if len(self.keys) < _FOLDERS and all(not known.startswith(f"{folder}/") for known in self.keys):
                self.keys.append(path)
            yield Fate(record, line, path, timed=timed, again=again)

    def _count(self, customer: str, kind: str, again: bool, timed: bool) -> None:
        self.accepted += 1
        self.again += again
        self.untimed += not timed
        for names, name in ((self.customers, customer), (self.types, kind)):
            names[name if name in names or len(names) < _NAMES else "other names"] += 1


def format_of(data: bytes) -> str:
    """The format of a record, in a word or two."""
    aggregated = deaggregate(data)
    if aggregated is not None:
        inner = {format_name(one) for one in aggregated[:100]}
        return f"KPL aggregate of {', '.join(sorted(inner))}" if inner else "KPL aggregate"
    return format_name(data)


def exhaust(fates: Iterator[Fate]) -> None:
    """Take all of them, for what they count."""
    for _ in fates:
        pass

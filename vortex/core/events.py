"""The events of a page by column, each with its key and period: read in C where that suffices, else by `Decoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from operator import add
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vortex.core.closely import time_value
from vortex.core.containers import Parts, parts_of
from vortex.core.decode import Decoded, Decoder, Rejected
from vortex.core.fields import NAMES, Fields, Paths
from vortex.core.kpl import aggregates
from vortex.core.names import Names
from vortex.core.native import ASK_KEY, ASK_TIME, ASKED, NO_ID, NO_PERIOD, native
from vortex.core.radix import stable_order
from vortex.core.records import Records
from vortex.core.routing import PeriodReader

Keys = NDArray[np.void]
_KEY = np.dtype("V16")
_MOST_NAMES = 20_000
"""How many names a reader keeps before it begins anew: some events have types without number."""


@dataclass(slots=True)
class Events:
    """The events of a page, in stream order.

    Event i is the line `text[start[i]:start[i] + size[i]]` of record `record[i]`; its customer and type are
    `names[name[i]]`. `keys` has sixteen bytes for each. `period` is NO_PERIOD where the time is missing or unreadable.
    """

    text: bytes
    start: NDArray[np.int64]
    size: NDArray[np.int32]
    record: NDArray[np.int32]
    name: NDArray[np.int32]
    names: Names
    keys: Keys
    period: NDArray[np.int64]
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.start)


class _Prefixes(dict[str, str]):
    """The customer as a key's beginning: with its length, so that no customer and id run into another pair."""

    def __missing__(self, customer: str) -> str:
        if len(self) > 100_000:
            self.clear()
        prefix = self[customer] = f"{len(customer)}:{customer}"
        return prefix


class EventReader:
    """Reads pages for one shard. A key is the XXH3-128 of the customer (its length before it) and the id; where there
    is no id, of the customer and the line.
    """

    def __init__(self, decoder: Decoder, period_ms: int, seed: int) -> None:
        self._decoder, self._period_ms, self._seed = decoder, period_ms, seed
        self._periods = PeriodReader(period_ms, decoder.formats)
        self._other_times = len(decoder.paths["time"]) > 1
        self._prefixes = _Prefixes()
        self._names = Names(seed)
        self._plan = _plan_of(decoder.fields, decoder.paths)

    def page(self, records: Records) -> Events:
        """Every event and rejection of the page, in order."""
        if len(self._names) > _MOST_NAMES:
            self._names = Names(self._seed)
        if self._plan is None:
            return self._of_parts(parts_of(records.datas))
        plain, odd = self._plainly(records.data, records.bounds, aggregates(records.data, records.bounds))
        if not odd:
            return plain
        rest = self._of_parts(parts_of([records.datas[index] for index in odd]))
        owners = np.array(odd, dtype=np.int32)
        rest.record = owners[rest.record]
        rest.rejected = [replace(rejected, record=odd[rejected.record]) for rejected in rest.rejected]
        return _merged(plain, rest)

    def _of_parts(self, parts: Parts) -> Events:
        """The events of what records were taken apart into."""
        if self._plan is None:
            return self._slowly(self._decoder.parts(parts))
        text = parts.joined if parts.joined is not None else b"".join(parts.data)
        bounds = np.zeros(len(parts.data) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, parts.data), np.int64, len(parts.data)), out=bounds[1:])
        events, odd = self._plainly(text, bounds, np.zeros(len(parts.data), dtype=np.bool_))  # aggregates hold none
        if odd:
            refused = {place: parts.refused[part] for place, part in enumerate(odd) if part in parts.refused}
            alone = Parts([parts.data[part] for part in odd], range(len(odd)), refused)
            slow = self._slowly(self._decoder.parts(alone))
            slow.record = np.array(odd, dtype=np.int32)[slow.record]
            slow.rejected = [
                replace(rejected, record=parts.owners[part], sub=parts.sub(part))
                for rejected in slow.rejected
                for part in (odd[rejected.record],)
            ]
            events = _merged(events, slow)
        if not isinstance(parts.owners, range):
            events.record = np.array(parts.owners, dtype=np.int32)[events.record]
        return events

    def _plainly(
        self, text: bytes, bounds: NDArray[np.int64], aggregate: NDArray[np.bool_]
    ) -> tuple[Events, list[int]]:
        """The events of the records that hold nothing odd, and which records do."""
        assert native is not None
        names = self._names
        found = native.events(self._plan, names.table, text, bounds, aggregate, self._period_ms, self._seed)
        start, size, record, name, keys, period, asked, new, odd = found
        events = Events(
            text,
            np.frombuffer(start, dtype=np.int64),
            np.frombuffer(size, dtype=np.int32),
            np.frombuffer(record, dtype=np.int32),
            names.of_table(np.frombuffer(name, dtype=np.int32), new),
            names,
            np.frombuffer(keys, dtype=_KEY),
            np.frombuffer(period, dtype=np.int64),
        )
        if asked:
            self._answer(events, np.frombuffer(asked, dtype=ASKED))
        return events, odd

    def _answer(self, events: Events, asked: NDArray[np.void]) -> None:
        """Fill in the keys and periods that are left to Python."""
        text, start, names = events.text, events.start[asked["row"]], events.names
        if len(which := np.flatnonzero(asked["ask"] & ASK_KEY)):
            row, without = asked["row"][which], (asked["ask"][which] & NO_ID).astype(np.bool_)
            at = start[which] + np.where(without, 0, asked["id_at"][which])
            size = np.where(without, events.size[row], asked["id_size"][which])
            some = [names[name][0] for name in events.name[row].tolist()], without.tolist(), _slices(text, at, size)
            found = [
                self._key(customer, None, line) if none else self._key(customer, line.decode(), b"")
                for customer, none, line in zip(*some, strict=True)
            ]
            events.keys = events.keys.copy()
            events.keys[row] = np.frombuffer(b"".join(found), dtype=_KEY)
        if len(which := np.flatnonzero(asked["ask"] & ASK_TIME)):
            texts = _slices(text, start[which] + asked["time_at"][which], asked["time_size"][which])
            events.period = events.period.copy()
            row = asked["row"][which]
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
        )

    def _periods_of(self, times: list[Any], lines: Callable[[], list[bytes]]) -> NDArray[np.int64]:
        """The periods of these times, or, where the first is none, of others that the lines have."""
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


def _slices(text: bytes, start: NDArray[np.integer], size: NDArray[np.integer]) -> list[bytes]:
    return [text[at:end] for at, end in zip(start.tolist(), (start + size).tolist(), strict=True)]


def _merged(one: Events, other: Events) -> Events:
    """Both, in order of their records, none of which is in both."""
    if not len(one):
        other.rejected = one.rejected + other.rejected
        return other
    record = np.concatenate((one.record, other.record))
    order = stable_order(record)
    return Events(
        one.text + other.text,
        np.concatenate((one.start, other.start + len(one.text)))[order],
        np.concatenate((one.size, other.size))[order],
        record[order],
        np.concatenate((one.name, other.name))[order],
        one.names,
        np.concatenate((one.keys, other.keys))[order],
        np.concatenate((one.period, other.period))[order],
        one.rejected + other.rejected,
    )


def _plan_of(fields: Fields, paths: Paths) -> Any:
    """The fields for `native.events`; None where it is not installed, or cannot have them: where one path leads on from
    the end of another, and where there are very many.
    """
    if native is None:
        return None
    nodes: list[dict[str, tuple[int, int]]] = [{}]
    numbers: dict[tuple[str, ...], int] = {}
    for path in (path for name in NAMES for path in paths[name]):
        at = 0
        for part in path[:-1]:
            below, leaf = nodes[at].setdefault(part, (len(nodes), -1))
            if leaf >= 0:
                return None
            if below == len(nodes):
                nodes.append({})
            at = below
        number = numbers.setdefault(path, len(numbers))
        if nodes[at].setdefault(path[-1], (-1, number)) != (-1, number):
            return None
    table = [[(key.encode(), *to) for key, to in node.items()] for node in nodes]
    try:
        several = [[numbers[path] for path in paths[name]] for name in NAMES]
        return native.plan(table, several, fields.missing_id == "hash", bool(fields.time_format), fields.max_bytes)
    except ValueError:
        return None

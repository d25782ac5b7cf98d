"""Decodes a page's bytes into events: the four fields that Vortex reads, by column, and rejections for everything else.

Bad input never raises: what cannot be decoded as an event becomes a rejection with its reason and original bytes. An
event is decoded once, by a msgspec Struct with only the configured paths, so its rest is skipped at C speed. Other
checks of bytes and values run on whole columns. If a check fails, the column is bisected until the failing event is
isolated, and the slow decoder decodes that event.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from vortex.core.decode.containers import RecordParts, one_line, parts_of
from vortex.core.decode.depth import MAX_DEPTH, is_too_deep
from vortex.core.decode.diagnosis import NAME_LIMIT, SlowDecoder, missing
from vortex.core.decode.fields import NAMES, Fields, paths_of
from vortex.core.decode.reasons import OverBudget, Reason, Refused
from vortex.core.decode.rejections import Rejected
from vortex.core.decode.shape import Once, Shape
from vortex.core.decode.time_formats import time_format
from vortex.core.model import Record

_UTF8_STEP = 1 << 20
_utf8 = codecs.getincrementaldecoder("utf-8")
_T = TypeVar("_T")
_Which = range | list[int]
"""Indices of parts, in order."""
_IDS, _TIMES = {str, int, type(None)}, {str, int, float, type(None)}
"""The types of values that are read by column."""
_INVALID = (msgspec.MsgspecError, RecursionError, ValueError)


@dataclass(slots=True)
class Decoded:
    """The events of a page as columns (one Python object per event is too slow), in stream order.

    `ids` has None for an event without an id, which is identified by its content. `records[i]` is the index of the
    record of event i.
    """

    lines: list[bytes] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    times: list[Any] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Decoder:
    """Decodes pages with one set of paths. Raises ValueError for a path with an empty part, or a wrong time format."""

    def __init__(self, fields: Fields) -> None:
        self.fields, self.paths = fields, paths_of(fields)
        self.hash_missing = fields.missing_id == "hash"
        self.formats = [time_format(pattern) for pattern in fields.time_format]
        self._shape, self._once = Shape(self.paths), Once(self.paths)
        self._slow = SlowDecoder(fields)

    def times(self, line: bytes) -> list[Any]:
        """The values at all paths of the time, in order, of a line that is a valid event."""
        return self._slow.times(line)

    def page(self, records: Sequence[Record]) -> Decoded:
        """Every event and rejection of the page, in order."""
        return self.parts(parts_of([record.data for record in records]))

    def parts(self, parts: RecordParts) -> Decoded:
        """Every event and rejection among the parts, in order."""
        out = Decoded()
        events = self._events(parts.data)
        if None not in events:
            self._several(range(len(events)), parts, events, out)
        else:
            begin = 0
            for invalid, run in groupby(events, key=_is_none):
                end = begin + sum(1 for _ in run)
                if invalid:
                    for part in range(begin, end):
                        self._one(part, parts, out)
                else:
                    self._several(range(begin, end), parts, events, out)
                begin = end
        out.rejected.sort(key=_place)
        return out

    def _events(self, datas: list[bytes]) -> list[Any]:
        """Each part as a Struct; None for parts that are not one JSON object."""
        try:
            if max(map(len, datas), default=0) <= self.fields.max_bytes:
                return list(map(self._shape.decode, datas))
        except _INVALID:
            pass
        return list(map(self._event, datas))

    def _event(self, data: bytes) -> Any:
        try:
            return self._shape.decode(data) if len(data) <= self.fields.max_bytes else None
        except _INVALID:
            return None

    def _several(self, which: _Which, parts: RecordParts, events: list[Any], out: Decoded) -> None:
        """Decode parts that are one object each, by column; bisect if a check fails."""
        if not which or self._columns(which, parts, events, out):
            return
        rest = self._without_names(which, parts, events, out)
        if len(rest) < len(which):
            self._several(rest, parts, events, out)
            return
        if len(which) == 1:
            self._one(which[0], parts, out)
            return
        middle = len(which) // 2
        self._several(which[:middle], parts, events, out)
        self._several(which[middle:], parts, events, out)

    def _without_names(self, which: _Which, parts: RecordParts, events: list[Any], out: Decoded) -> _Which:
        """Reject the parts without customer, type or id, by column. Returns the other parts."""
        why: dict[int, Refused] = {}
        chosen = _chosen(events, which)
        for name in NAMES[:2] if self.hash_missing else NAMES[:3]:
            try:
                values = _first_present(self._shape.getters[name], chosen)
            except AttributeError:
                return which
            if None in values or "" in values:
                refused = missing(name, self.paths)
                for part, value in zip(which, values, strict=True):
                    if value is None or value == "":
                        why.setdefault(part, refused)
        datas = [parts.data[part] for part in why]
        if not datas or not self._are_valid(datas, b"".join(datas)):
            return which
        for part, data in zip(why, datas, strict=True):
            refused = why[part]
            out.rejected.append(Rejected(parts.owners[part], parts.sub(part), refused.reason, refused.detail, data))
        return [part for part in which if part not in why]

    def _are_valid(self, datas: Sequence[bytes], joined: bytes) -> bool:
        """Whether these are UTF-8 objects, not too deep or large, and without a repeated key of the paths."""
        if max(map(len, datas)) > self.fields.max_bytes or not _is_utf8(joined):
            return False
        if any(is_too_deep(data) for data in datas if len(data) > 2 * MAX_DEPTH):
            return False
        return all(map(self._once, datas))

    def _columns(self, which: _Which, parts: RecordParts, events: list[Any], out: Decoded) -> bool:
        """Decode these parts by column. If any check fails, do nothing and return False."""
        whole = len(which) == len(events)
        datas = _chosen(parts.data, which)
        joined = parts.joined if whole and parts.joined is not None else b"".join(datas)
        chosen = _chosen(events, which)
        try:
            customers, kinds, ids, times = (_first_present(self._shape.getters[name], chosen) for name in NAMES)
        except AttributeError:
            return False
        if not (_all_text(customers) and _all_text(kinds) and self._are_valid(datas, joined)):
            return False
        if self._shape.mixed and not _TIMES.issuperset(map(type, times)):
            return False
        if not _all_text(ids):
            if not _IDS.issuperset(map(type, ids)):
                return False
            if not self.hash_missing and ("" in ids or None in ids):
                return False
            ids = [str(key) if key is not None and key != "" else None for key in ids]
        if max(map(len, customers)) + max(map(len, kinds)) > NAME_LIMIT:
            return False
        out.lines += map(one_line, datas) if b"\n" in joined or b"\r" in joined else datas
        out.customers += customers
        out.types += kinds
        out.ids += ids
        out.times += times
        out.records += _chosen(parts.owners, which)
        return True

    def _one(self, part: int, parts: RecordParts, out: Decoded) -> None:
        """Decode one part on the slow path."""
        data = parts.data[part]
        try:
            if part in parts.refused:
                raise parts.refused[part]
            if len(data) > self.fields.max_bytes:
                raise Refused(Reason.EVENT_TOO_LARGE, f"over {self.fields.max_bytes} bytes (event.max_bytes)")
            customer, kind, key, time = self._slow(data)
        except Refused as refused:
            place = parts.owners[part], parts.sub(part)
            whole = isinstance(refused, OverBudget)
            out.rejected.append(Rejected(*place, refused.reason, refused.detail, data, whole))
            return
        out.lines.append(one_line(data))
        out.customers.append(customer)
        out.types.append(kind)
        out.ids.append(key)
        out.times.append(time)
        out.records.append(parts.owners[part])


def _is_none(value: object) -> bool:
    return value is None


def _place(rejected: Rejected) -> tuple[int, int]:
    return rejected.record, rejected.sub


def _chosen(column: Sequence[_T], which: _Which) -> Sequence[_T]:
    """The chosen rows of a column; the column itself if these are all."""
    if isinstance(which, range):
        return column if len(which) == len(column) else column[which.start : which.stop]
    return [column[row] for row in which]


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8: msgspec does not check strings that it skips. Joined parts give the same answer as
    single ones, since each begins and ends in ASCII.
    """
    if data.isascii():
        return True
    decoder = _utf8()
    try:
        for at in range(0, len(data), _UTF8_STEP):  # the text may take four times the memory of its bytes
            decoder.decode(data[at : at + _UTF8_STEP])
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _first_present(getters: list[Callable[[Any], Any]], events: Sequence[Any]) -> list[Any]:
    """For each event the first of its values that is neither missing nor empty. Raises AttributeError, as getters do.

    By column: a tuple per event would be one more object for the garbage collector.
    """
    first = list(map(getters[0], events))
    for get in getters[1:]:
        if all(first):
            break
        # An empty list or object is present: it is no text, but not absent.
        first = [
            one if one or (one is not None and one != "") else two
            for one, two in zip(first, map(get, events), strict=True)
        ]
    return first


def _all_text(column: list[Any]) -> bool:
    """Whether all values are non-empty texts; integers are converted in place."""
    kinds = set(map(type, column))
    if kinds == {int, str} or kinds == {int}:
        column[:] = map(str, column)
    elif kinds != {str}:
        return False
    return "" not in column

"""From a record's bytes to events: KPL aggregates, compression, JSON, and the four fields that Vortex reads.

Bad input never raises: what cannot be taken as an event becomes a rejection with its reason and its original bytes.
An event is decoded once, by a msgspec Struct made of the configured paths alone, so that the rest of it is skipped at
C speed; whatever that refuses takes the slow road, whose only job is to find out why (or that it is fine after all).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

import msgspec
from isal import isal_zlib

from vortex.core.fields import NAMES, Fields, Occurrences, ends, paths_of, shape
from vortex.core.kpl import deaggregate
from vortex.core.model import Record

MAX_INFLATED = 64 * 1024 * 1024
"""Bytes that a compressed record may unfold to; more is taken for a bomb and rejected."""
MAX_DEPTH = 4096
_DEPTH_MATTERS = 2 * MAX_DEPTH
_BrokenStream: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says an instance
_NAME_LIMIT = 64 * 1024
_KPL = b"\xf3\x89\x9a\xc2"
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_WHITE = b" \t\r\n"


class Reason(StrEnum):
    """Why something was rejected; written to the rejection line, so the words are part of the loader's contract."""

    EMPTY = "empty"
    NOT_JSON = "not_json"
    NOT_UTF8 = "not_utf8"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    BAD_COMPRESSION = "bad_compression"
    DUPLICATE_KEY = "duplicate_key"
    MISSING_CUSTOMER = "missing_customer"
    MISSING_TYPE = "missing_type"
    MISSING_ID = "missing_id"
    BAD_CUSTOMER = "bad_customer"
    BAD_TYPE = "bad_type"
    BAD_ID = "bad_id"


@dataclass(frozen=True, slots=True)
class Rejected:
    """`record` is the index in the page, `sub` the place within the record, `data` the original bytes."""

    record: int
    sub: int
    reason: Reason
    detail: str
    data: bytes


@dataclass(slots=True)
class Decoded:
    """The events of a page as columns (one Python object an event is too many), in stream order.

    `ids` holds None where the event has no id and is to be known by its content. `records[i]` is the index of the
    record that event i came from.
    """

    lines: list[bytes] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    times: list[Any] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


_MISSING = {"customer": Reason.MISSING_CUSTOMER, "type": Reason.MISSING_TYPE, "id": Reason.MISSING_ID}
_BAD = {"customer": Reason.BAD_CUSTOMER, "type": Reason.BAD_TYPE, "id": Reason.BAD_ID}


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail


class Decoder:
    """Decodes pages by one set of paths. Raises ValueError for a path with an empty part."""

    def __init__(self, fields: Fields) -> None:
        paths = self._paths = paths_of(fields)
        self._hash_missing = fields.missing_id == "hash"
        self._single = all(len(several) == 1 for several in paths.values())
        self._ends = ends(paths)
        struct, self._pick = shape(paths)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._once = Occurrences(paths)

    def page(self, records: Sequence[Record]) -> Decoded:
        """Every event and rejection of the page, in order."""
        out = Decoded()
        datas = [record.data for record in records]
        values = self._all_values(datas)
        begin = 0
        for odd, run in groupby(values, key=_is_none):
            end = begin + sum(1 for _ in run)
            if odd or not self._run(begin, datas[begin:end], values[begin:end], out):
                for index in range(begin, end):
                    self._record(index, datas[index], out)
            begin = end
        return out

    def _all_values(self, datas: list[bytes]) -> list[Any]:
        """The values of each record; None for those that are not one JSON object."""
        pick, decode = self._pick, self._decode
        try:
            return [pick(decode(data)) for data in datas]
        except (msgspec.MsgspecError, RecursionError, AttributeError, UnicodeDecodeError):
            return list(map(self._values, datas))

    def _values(self, data: bytes) -> tuple[Any, ...] | None:
        """The configured values of a record that is one JSON object; None for anything else."""
        try:
            return self._pick(self._decode(data))
        except (msgspec.MsgspecError, RecursionError, AttributeError, UnicodeDecodeError):
            return None

    def _run(self, begin: int, datas: list[bytes], values: list[Any], out: Decoded) -> bool:
        """Records that are one object each, checked together and by column; False, with nothing done, if any is odd.

        What is asked of all the bytes is asked of the joined page, at the speed of memory.
        """
        joined = b"".join(datas)
        if max(map(len, datas)) > _DEPTH_MATTERS or not _is_utf8(joined):
            return False
        if self._once.suspects(joined, len(datas)) and not all(map(self._once, datas)):
            return False
        columns = iter(zip(*values, strict=True))
        customers, kinds, ids, times = (_first_present([next(columns) for _ in self._paths[name]]) for name in NAMES)
        if not (_all_text(customers) and _all_text(kinds)):
            return False
        if not _all_text(ids):
            if not self._hash_missing and ("" in ids or None in ids):
                return False
            ids = [str(key) if key is not None and key != "" else None for key in ids]
        if max(map(len, customers)) + max(map(len, kinds)) > _NAME_LIMIT:
            return False
        out.lines += [_one_line(data) for data in datas] if b"\n" in joined or b"\r" in joined else datas
        out.customers += customers
        out.types += kinds
        out.ids += ids
        out.times += times
        out.records += range(begin, begin + len(datas))
        return True

    def _fast(self, index: int, data: bytes, out: Decoded) -> bool:
        """The ordinary record: one JSON object on one line. False, with nothing done, for anything else."""
        try:
            customer, kind, key, time = self._read(data)
        except (msgspec.MsgspecError, _Refused, RecursionError, AttributeError, UnicodeDecodeError):
            return False
        out.lines.append(_one_line(data) if b"\n" in data or b"\r" in data else data)
        out.customers.append(customer)
        out.types.append(kind)
        out.ids.append(key)
        out.times.append(time)
        out.records.append(index)
        return True

    def _read(self, data: bytes) -> tuple[str, str, str | None, Any]:
        """The four fields of one JSON object. Raises for anything out of the ordinary."""
        values = self._pick(self._decode(data))
        if not data.isascii():
            data.decode()  # msgspec does not check the strings that it skips
        if len(data) > _DEPTH_MATTERS:
            _check_depth(data)
        customer, kind, key, time = values if self._single else self._first(values)
        if customer.__class__ is not str:
            customer = _text(customer)
        if kind.__class__ is not str:
            kind = _text(kind)
        if key.__class__ is not str and key is not None:
            key = _text(key)
        if not customer or not kind or not key:
            if not customer or not kind or not self._hash_missing:
                raise _Refused(Reason.MISSING_ID, "")
            key = None
        if self._once.suspects(data, 1) and not self._once(data):
            raise _Refused(Reason.DUPLICATE_KEY, "")
        if len(customer) + len(kind) > _NAME_LIMIT:
            raise _Refused(Reason.TOO_LARGE, "customer and type together are over 64 KiB")
        return customer, kind, key, time

    def _first(self, values: tuple[Any, ...]) -> list[Any]:
        picked = []
        begin = 0
        for end in self._ends:
            for value in values[begin:end]:
                if value is not None and value != "":
                    break
            else:
                value = None
            picked.append(value)
            begin = end
        return picked

    # The slow road: containers, and finding out what is wrong.

    def _record(self, index: int, data: bytes, out: Decoded) -> None:
        if data[:4] == _KPL and (subs := deaggregate(data)) is not None:
            sub = 0
            for part in subs:
                sub = self._payload(index, sub, part, out)
            return
        self._payload(index, 0, data, out)

    def _payload(self, index: int, sub: int, data: bytes, out: Decoded) -> int:
        """One record or KPL sub-record, perhaps compressed; the next free place within the record."""
        text = data
        if data[:2] == _GZIP or data[:2] in _ZLIB:
            try:
                text = _inflate(data)
            except _Refused as refused:
                out.rejected.append(Rejected(index, sub, refused.reason, refused.detail, data))
                return sub + 1
        text = text.strip(_WHITE)
        if text[:1] == b"[":
            return self._array(index, sub, text, out)
        if text[:1] == b"{" and self._fast(index, text, out):
            return sub + 1
        if b"\n" in text:
            return self._lines(index, sub, text, out)
        return self._single_event(index, sub, text, out)

    def _lines(self, index: int, sub: int, text: bytes, out: Decoded) -> int:
        """NDJSON; but where no line at all is an object, the text is one broken event, not many."""
        lines = [line.strip(_WHITE) for line in text.split(b"\n")]
        lines = [line for line in lines if line]
        if not any(line[:1] == b"{" and _is_json(line) for line in lines) or _is_json(text):
            return self._single_event(index, sub, text, out)
        for line in lines:
            sub = self._single_event(index, sub, line, out)
        return sub

    def _array(self, index: int, sub: int, text: bytes, out: Decoded) -> int:
        try:
            parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError):
            if b"\n" in text:
                return self._lines(index, sub, text, out)
            return self._single_event(index, sub, text, out)
        if not parts:
            return self._reject(index, sub, Reason.EMPTY, "an empty JSON array", text, out)
        for part in parts:
            sub = self._single_event(index, sub, bytes(part).strip(_WHITE), out)
        return sub

    def _single_event(self, index: int, sub: int, data: bytes, out: Decoded) -> int:
        if data[:1] == b"{" and self._fast(index, data, out):
            return sub + 1
        try:
            customer, kind, key, time = self._explain(data)
        except _Refused as refused:
            return self._reject(index, sub, refused.reason, refused.detail, data, out)
        out.lines.append(_one_line(data))
        out.customers.append(customer)
        out.types.append(kind)
        out.ids.append(key)
        out.times.append(time)
        out.records.append(index)
        return sub + 1

    def _reject(self, index: int, sub: int, reason: Reason, detail: str, data: bytes, out: Decoded) -> int:
        out.rejected.append(Rejected(index, sub, reason, detail, data))
        return sub + 1

    def _explain(self, data: bytes) -> tuple[str, str, str | None, Any]:
        """The four fields by a generic decode, or the reason why not. Raises _Refused."""
        event = _parse(data)
        found: dict[str, Any] = {}
        for name in NAMES:
            values = (_walk(event, path) for path in self._paths[name])
            value = next((v for v in values if v is not None and v != ""), None)
            if name == "time":
                found[name] = value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
            elif value is None:
                if name != "id" or not self._hash_missing:
                    raise _Refused(_MISSING[name], f"none of {['.'.join(p) for p in self._paths[name]]} is present")
                found[name] = None
            elif isinstance(value, bool) or not isinstance(value, str | int):
                raise _Refused(_BAD[name], f"{name} is neither a string nor an integer")
            else:
                found[name] = _text(value)
        if not self._once(data):
            raise _Refused(Reason.DUPLICATE_KEY, "the key of the customer or of the id stands twice")
        if len(found["customer"]) + len(found["type"]) > _NAME_LIMIT:
            raise _Refused(Reason.TOO_LARGE, "customer and type together are over 64 KiB")
        return found["customer"], found["type"], found["id"], found["time"]


def _string_end(data: bytes, at: int) -> int:
    """The place behind the string that begins at `at`."""
    end = data.index(b'"', at + 1)
    while True:
        back = end - 1
        while data[back] == 0x5C:
            back -= 1
        if (end - back) % 2:
            return end + 1
        end = data.index(b'"', end + 1)


def _text(value: Any) -> str:
    if value.__class__ is int:
        return str(value)
    if value.__class__ is str:
        return str(value)
    raise _Refused(Reason.BAD_ID, "")


def _is_none(value: object) -> bool:
    return value is None


def _is_utf8(data: bytes) -> bool:
    """The decoder does not check strings that it skips. Records begin and end in ASCII: joining them hides nothing."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_present(columns: list[tuple[Any, ...]]) -> list[Any]:
    """For each event the first of its values that is neither absent nor empty."""
    first = list(columns[0])
    for other in columns[1:]:
        first = [one if one or one == 0 else two for one, two in zip(first, other, strict=True)]
    return first


def _all_text(column: list[Any]) -> bool:
    """Whether all are text (integers made so in place), none empty."""
    kinds = set(map(type, column))
    if kinds == {int, str} or kinds == {int}:
        column[:] = map(str, column)
    elif kinds != {str}:
        return False
    return "" not in column


def _one_line(data: bytes) -> bytes:
    """A JSON string can hold no raw line break, so those between tokens may become spaces."""
    return data.strip(_WHITE).replace(b"\n", b" ").replace(b"\r", b" ")


def _walk(event: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(event, dict):
            return None
        event = event.get(part)
    return event


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _parse(data: bytes) -> dict[str, Any]:
    if not data:
        raise _Refused(Reason.EMPTY, "nothing but white space")
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        raise _Refused(Reason.NOT_UTF8, f"byte {problem.start}: {problem.reason}") from None
    _check_depth(data)
    try:
        event = msgspec.json.decode(data)
    except RecursionError:
        raise _Refused(Reason.TOO_DEEP, "nested too deep") from None
    except msgspec.DecodeError as problem:
        raise _Refused(Reason.NOT_JSON, str(problem)) from None
    if not isinstance(event, dict):
        raise _Refused(Reason.NOT_AN_OBJECT, f"a JSON {type(event).__name__}, not an object")
    return event


def _check_depth(data: bytes) -> None:
    """Interpreters differ in how deep they recurse; at MAX_DEPTH all of them refuse. Raises _Refused."""
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    depth = at = 0
    while at < len(data):
        char = data[at]
        if char == 0x22:
            try:
                at = _string_end(data, at)
            except ValueError:
                return
            continue
        if char in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")
        elif char in b"}]":
            depth -= 1
        at += 1


def _inflate(data: bytes) -> bytes:
    """All members of a gzip or zlib record. Raises _Refused for a broken, cut or bomb-like one."""
    wbits = 31 if data[:2] == _GZIP else 15
    parts: list[bytes] = []
    room = MAX_INFLATED
    rest = data
    try:
        while rest:
            inflater = isal_zlib.decompressobj(wbits=wbits)
            parts.append(inflater.decompress(rest, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise _Refused(Reason.TOO_LARGE, f"unfolds to more than {MAX_INFLATED} bytes")
            if not inflater.eof:
                raise _Refused(Reason.BAD_COMPRESSION, "the compressed data is cut off")
            rest = inflater.unused_data
    except (_BrokenStream, zlib.error) as problem:
        raise _Refused(Reason.BAD_COMPRESSION, str(problem)) from None
    return b"".join(parts)

"""What a record holds: one event, or many, as a KPL aggregate, as lines, as a JSON array, gzip or zlib around any.

A part is what should be one event; whether it is, `core.decode` finds out. What cannot be taken apart is a part of its
own, refused already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec

from vortex.core.codecs import decompress
from vortex.core.kpl import MAGIC, deaggregate
from vortex.core.reasons import Reason, Refused

MAX_INFLATED = 64 * 1024 * 1024
"""Bytes that a compressed record may unfold to; more is taken for a bomb and rejected."""
WHITE = b" \t\r\n"
_first_byte = itemgetter(0)


@dataclass(slots=True)
class Parts:
    """The parts of a page, in stream order. `owners[i]` is the index of the record that part i came from.

    `joined` is all of them in one, where that was needed anyhow.
    """

    data: list[bytes] = field(default_factory=list)
    owners: Sequence[int] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)
    joined: bytes | None = None

    def sub(self, part: int) -> int:
        """The place of a part within its record."""
        return part - bisect_left(self.owners, self.owners[part])


def parts_of(datas: list[bytes]) -> Parts:
    """The parts of a page's records."""
    if (joined := _plain(datas)) is not None:
        return Parts(datas, range(len(datas)), joined=joined)
    parts, owners = Parts(), list[int]()
    for index, data in enumerate(datas):
        subs = deaggregate(data) if data[:4] == MAGIC else None
        if subs is None:
            _take_apart(data, parts)
        elif _plain(subs) is not None:
            parts.data += subs
        else:
            for sub in subs:
                _take_apart(sub, parts)
        owners += [index] * (len(parts.data) - len(owners))
    parts.owners = owners
    return parts


def one_line(data: bytes) -> bytes:
    """The event as a line: a JSON string can hold no raw line break, so those between tokens may become spaces."""
    if b"\n" not in data and b"\r" not in data:
        return data
    return data.strip(WHITE).replace(b"\n", b" ").replace(b"\r", b" ")


def is_json(data: bytes) -> bool:
    """Whether the bytes are one JSON value."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _plain(datas: list[bytes]) -> bytes | None:
    """The bytes in one, if each can only be one event on one line: asked of all at once, at the speed of memory."""
    if not all(datas) or bytes(map(_first_byte, datas)) != b"{" * len(datas):
        return None
    joined = b"".join(datas)
    return None if b"\n" in joined or b"\r" in joined else joined


def _take_apart(data: bytes, parts: Parts) -> None:
    """Add the parts of one record, or of one sub-record of an aggregate."""
    try:
        unfolded = decompress(data, MAX_INFLATED)
    except Refused as refused:
        _refuse(data, refused, parts)
        return
    text = data if unfolded is None else unfolded
    if text[:1] == b"{" and b"\n" not in text:
        parts.data.append(text)
        return
    text = text.strip(WHITE)
    if text[:1] == b"[":
        _array(text, parts)
    elif b"\n" in text:
        _lines(text, parts)
    else:
        parts.data.append(text)


def _lines(text: bytes, parts: Parts) -> None:
    """NDJSON; but a text that is one JSON value, or of which no line is an object, is one event, broken or not."""
    lines = [line for line in (line.strip(WHITE) for line in text.split(b"\n")) if line]
    # After one whole object there can be no second one in a JSON text: lines, then, without a look at the rest.
    if is_json(lines[0]) and lines[0][:1] == b"{":
        parts.data += lines
    elif is_json(text) or not any(line[:1] == b"{" and is_json(line) for line in lines):
        parts.data.append(text)
    else:
        parts.data += lines


def _array(text: bytes, parts: Parts) -> None:
    try:
        elements = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        if b"\n" in text:
            _lines(text, parts)
        else:
            parts.data.append(text)
        return
    if not elements:
        _refuse(text, Refused(Reason.EMPTY, "an empty JSON array"), parts)
    parts.data += [bytes(element).strip(WHITE) for element in elements]


def _refuse(data: bytes, refused: Refused, parts: Parts) -> None:
    parts.refused[len(parts.data)] = refused
    parts.data.append(data)

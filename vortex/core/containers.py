"""What a record holds: one event, or many, as a KPL aggregate, as JSON values one after another (with or without line
breaks), as elements of arrays, and any of these compressed (`codecs`).

A part is what should be one event; whether it is, `core.decode` finds out. What cannot be taken apart is a part of its
own, refused already.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from vortex.core.codecs import decompress
from vortex.core.kpl import MAGIC, deaggregate
from vortex.core.reasons import Refused
from vortex.core.texts import WHITE, values_of

MAX_INFLATED = 64 * 1024 * 1024
"""Bytes that a compressed record may unfold to; more is taken for a bomb and rejected."""
_first, _last = itemgetter(0), itemgetter(-1)
# Two objects, one behind the other; or so it seems, for they may stand in a string.
_SEVERAL = re.compile(rb"\}[ \t\x1e\xef\xbb\xbf]*+\{").search


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


def _plain(datas: list[bytes]) -> bytes | None:
    """The bytes in one, if each can only be one event on one line: asked of all at once, at the speed of memory."""
    count = len(datas)
    if not all(datas) or (bytes(map(_first, datas)), bytes(map(_last, datas))) != (b"{" * count, b"}" * count):
        return None
    joined = b"".join(datas)
    if b"\n" in joined or b"\r" in joined or any(map(_SEVERAL, datas)):
        return None
    return joined


def _take_apart(data: bytes, parts: Parts) -> None:
    """Add the parts of one record, or of one sub-record of an aggregate."""
    try:
        unfolded = decompress(data, MAX_INFLATED)
    except Refused as refused:
        _refuse(data, refused, parts)
        return
    parts.data += values_of(data if unfolded is None else unfolded)


def _refuse(data: bytes, refused: Refused, parts: Parts) -> None:
    parts.refused[len(parts.data)] = refused
    parts.data.append(data)

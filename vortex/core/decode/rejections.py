"""Rejections, and their lines: the reason, the origin, and the original bytes.

A line is no longer than every reader of JSON lines accepts. Bytes that do not fit are written to a separate line in a
separate folder.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.reasons import Reason

LINE_BYTES = 4_000_000
"""Maximum size of a rejection line. Redshift accepts JSON objects up to 4 MB, other readers more:
https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-json.html."""
_AROUND = 400
"""More bytes than a line has without its data, usually."""
_HEAD = 180
"""Approximate bytes of a line without reason, detail and data."""
_DETAIL = 200
"""Maximum characters of a detail, which may contain a deep path."""
_SHORT = b"\b\t\n\f\r"
_CONTROLS = bytes(set(range(0x20)) - set(_SHORT))


class Rejected(msgspec.Struct, gc=False):
    """`record` is the index in the page, `sub` the index within the record, `data` the original bytes.

    `whole`: the rejection is for the whole record, and `data` are its bytes as received.
    """

    record: int
    sub: int
    reason: Reason
    detail: str
    data: bytes
    whole: bool = False


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    reason: Reason
    detail: str
    shard: str
    sequence: str
    sub: int
    arrival: float
    whole: bool | msgspec.UnsetType = msgspec.UNSET
    data: str | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    data_beside: str | msgspec.UnsetType = msgspec.UNSET


class _Beside(msgspec.Struct, gc=False):
    shard: str
    sequence: str
    sub: int
    data_base64: str


def readable_bytes(data: bytes) -> int:
    """The size of the data as a JSON string."""
    short = len(data) - len(data.translate(None, _SHORT))
    long = len(data) - len(data.translate(None, _CONTROLS))
    return len(data) + data.count(b'"') + data.count(b"\\") + short + 5 * long


def lines_bytes(rejected: Sequence[Rejected], enough: int) -> int:
    """The approximate size of the lines. If the data alone are more than `enough`, only a lower bound above it: to read
    large data takes a copy of them.
    """
    heads = sum(_HEAD + len(one.reason) + len(one.detail[:_DETAIL]) for one in rejected)
    size = heads + sum(len(one.data) for one in rejected)
    return size if size > enough else heads + sum(_data_bytes(one.data) for one in rejected)


def as_one(rejected: Sequence[Rejected], record: int, data: bytes, most: int, *, alone: bool) -> Rejected:
    """One rejection for a record whose lines would exceed `most` bytes; `alone`: the record has one part."""
    if alone and len(rejected) == 1:
        return Rejected(record, 0, rejected[0].reason, rejected[0].detail, data, True)
    detail = f"its events make more than {most} bytes of rejections (limits.rejections)"
    return Rejected(record, 0, Reason.REJECTIONS_TOO_LARGE, detail, data, True)


def lines_of(
    rejected: Sequence[Rejected], sequences: Sequence[str], arrivals: NDArray[np.float64], shard: str, beside: str
) -> tuple[bytes, bytes]:
    """The rejection lines of one period, and the lines for the folder `beside`; each ends with a line break.

    A line is one JSON object: reason, origin, and the bytes as `data` (text) or `data_base64`. If they do not fit,
    `data_beside` names the folder that has a line with the same shard, sequence and sub, and the bytes.
    """
    lines, besides = [], []
    for one in rejected:
        sequence = sequences[one.record]
        line = _Line(one.reason, one.detail[:_DETAIL], shard, sequence, one.sub, float(arrivals[one.record]))
        if one.whole:
            line.whole = True
        if not _put_data(line, one.data):
            line.data_beside = beside
            besides.append(_Beside(shard, sequence, one.sub, base64.b64encode(one.data).decode()))
        lines.append(line)
    encoder = msgspec.json.Encoder()
    return encoder.encode_lines(lines), encoder.encode_lines(besides)


def _put_data(line: _Line, data: bytes) -> bool:
    """Put the data into the line; False if they do not fit."""
    if (text := _text_of(data)) is not None:
        line.data = text
        return True
    if _base64_bytes(data) + _AROUND > LINE_BYTES:
        return False
    line.data_base64 = base64.b64encode(data).decode()
    return True


def _data_bytes(data: bytes) -> int:
    """The size that the data have in their line, or in the line beside it."""
    return _base64_bytes(data) if _text_of(data) is None else readable_bytes(data)


def _base64_bytes(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4


def _text_of(data: bytes) -> str | None:
    """The data as text, if they are text and fit into a line as such."""
    if 6 * len(data) + _AROUND > LINE_BYTES and readable_bytes(data) + _AROUND > LINE_BYTES:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None

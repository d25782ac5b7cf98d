"""Compressed records: gzip and zlib, told by their first bytes, unfolded within bounds."""

from __future__ import annotations

import zlib

from isal import isal_zlib

from vortex.core.reasons import Reason, Refused

_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_BrokenStream: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says an instance


def decompress(data: bytes, room: int) -> bytes | None:
    """What the data unfold to, all members of it; None for data that are not compressed.

    Raises Refused for data that are broken or cut, and, without unfolding any further, for more than `room` bytes.
    """
    if data[:2] == _GZIP:
        return _inflate(data, 31, room)
    if data[:2] in _ZLIB:
        return _inflate(data, 15, room)
    return None


def _inflate(data: bytes, wbits: int, room: int) -> bytes:
    parts: list[bytes] = []
    left, rest = room, data
    try:
        while rest:
            inflater = isal_zlib.decompressobj(wbits=wbits)
            parts.append(inflater.decompress(rest, left + 1))
            left -= len(parts[-1])
            if left < 0:
                raise Refused(Reason.TOO_LARGE, f"unfolds to more than {room} bytes")
            if not inflater.eof:
                raise Refused(Reason.BAD_COMPRESSION, "the compressed data is cut off")
            rest = inflater.unused_data
    except (_BrokenStream, zlib.error) as problem:
        raise Refused(Reason.BAD_COMPRESSION, str(problem)) from None
    return b"".join(parts)

"""Compression of large texts in pieces, so that their lines are never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from typing import Any

import lz4.frame
import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from vortex.core.compression import ZSTD_OPTIONS, Compression, zstd
from vortex.core.log.segment import ACCELERATION, GZIP, LEVEL, compress, compression_of, lz4_frame
from vortex.core.log.trailer import CorruptSegment

STEP = 1 << 20
"""Bytes of text per piece; a text up to this size is compressed or decompressed at once, which costs less."""
_FEED = 256 * 1024
_SMALL_FEED = 16 * 1024
"""For members of a few KiB: what is fed beyond the end of a member is copied, and fed again."""
_BROKEN: tuple[type[Exception], ...] = (
    igzip_lib.IsalError,  # type: ignore[assignment]  # its stub says an instance
    zstd.ZstdError,
    RuntimeError,  # of lz4
    EOFError,
)
_INFLATERS: dict[Compression | None, Callable[[], Any]] = {
    None: lz4.frame.LZ4FrameDecompressor,
    Compression.GZIP: lambda: igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP),
    Compression.ZSTD: zstd.ZstdDecompressor,
}


class Counted:
    """Pieces of a text, and in `size` their bytes so far."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self.size = pieces, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def member(pieces: Iterable[bytes], compression: Compression) -> bytes:
    """One gzip member or Zstandard frame of this text, as `compress` makes; b"" for no text."""
    first, rest = _begin(pieces)
    if rest is None:
        text = b"".join(first)
        return compress(text, compression) if text else b""
    packer = (
        zstd.ZstdCompressor(options=ZSTD_OPTIONS)
        if compression is Compression.ZSTD
        else isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP)
    )
    out = BytesIO()
    for piece in chain(first, rest):
        out.write(packer.compress(piece))
    out.write(packer.flush())
    return out.getvalue()


def lz4_member(pieces: Iterable[bytes]) -> bytes:
    """One LZ4 frame of this text, as `lz4_frame` makes."""
    first, rest = _begin(pieces)
    if rest is None:
        return lz4_frame(b"".join(first))
    packer, out = lz4.frame.LZ4FrameCompressor(compression_level=ACCELERATION), BytesIO()
    out.write(packer.begin())
    for piece in chain(first, rest):
        out.write(packer.compress(piece))
    out.write(packer.flush())
    return out.getvalue()


def _begin(pieces: Iterable[bytes]) -> tuple[list[bytes], Iterator[bytes] | None]:
    """The first pieces, and the rest if all together are more than one step."""
    following, first, size = iter(pieces), list[bytes](), 0
    for piece in following:
        first.append(piece)
        size += len(piece)
        if size > STEP:
            return first, following
    return first, None


def decompressed(data: bytes | memoryview, name: str) -> Iterator[bytes]:
    """The text of a blob (one LZ4 frame), or of an object (gzip members, or Zstandard frames), in pieces.

    Raises CorruptSegment.
    """
    view, at = memoryview(data), 0
    inflater_of = _INFLATERS[compression_of(view)]
    try:
        while at < len(view):
            inflater = inflater_of()
            while not inflater.eof:
                feed = view[at : at + _FEED] if inflater.needs_input else view[:0]
                at += len(feed)
                piece = inflater.decompress(feed, STEP)
                if not feed and not piece and not inflater.eof:
                    raise CorruptSegment(f"{name}: a member is truncated")
                yield piece
            at -= len(inflater.unused_data or b"")
    except _BROKEN as problem:
        raise CorruptSegment(f"{name}: {problem}") from None


def kept_lines(pieces: Iterable[bytes], out: NDArray[np.int64], name: str) -> Iterator[bytes]:
    """The text without the lines with the numbers `out`, in order. Raises CorruptSegment if it has fewer lines."""
    first, rest = 0, b""
    for piece in pieces:
        text = rest + piece if rest else piece
        end = text.rfind(b"\n") + 1
        text, rest = (text, b"") if end == len(text) else (text[:end], text[end:])
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")) + 1
        begin, upto = np.searchsorted(out, (first, first + len(ends))).tolist()
        yield _without(text, ends, out[begin:upto] - first) if upto > begin else text
        first += len(ends)
    if len(out) and out[-1] >= first:
        raise CorruptSegment(f"{name}: has {first} lines, but line {out[-1]} is to be left out")
    yield rest


def _without(text: bytes, ends: NDArray[np.int64], out: NDArray[np.int64]) -> bytes:
    begins = np.concatenate(([0], ends))[out].tolist()
    kept = zip([0, *ends[out].tolist()], [*begins, len(text)], strict=True)
    return b"".join([text[begin:end] for begin, end in kept])


def same_text(one: Iterable[bytes], other: Iterable[bytes]) -> bool:
    """Whether both texts are equal, however they are cut into pieces."""
    these, those = filter(None, one), filter(None, other)
    left = right = b""
    while True:
        left, right = left or next(these, b""), right or next(those, b"")
        common = min(len(left), len(right))
        if not common or left[:common] != right[:common]:
            return left == right
        left, right = left[common:], right[common:]


def members_in(body: bytes, name: str) -> list[bytes]:
    """The gzip members or Zstandard frames of an object, one after another. Raises CorruptSegment."""
    view, at, found = memoryview(body), 0, list[bytes]()
    inflater_of = _INFLATERS[compression_of(view)]
    try:
        while at < len(view):
            begin, inflater = at, inflater_of()
            while not inflater.eof:
                feed = view[at : at + _SMALL_FEED] if inflater.needs_input else view[:0]
                at += len(feed)
                if not inflater.decompress(feed, STEP) and not feed and not inflater.eof:
                    raise CorruptSegment(f"{name}: a member is truncated")
            at -= len(inflater.unused_data or b"")
            found.append(body[begin:at])
    except _BROKEN as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    return found

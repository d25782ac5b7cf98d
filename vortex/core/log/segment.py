"""The segment: what one shard contributed between two commits, as one immutable object.

    blobs | ids, 16 bytes each | footer (JSON, member index) | trailer

Ids are in the order of lines: members as they are stored, and lines within each as accepted; rejections have none. So a
row corresponds to a line without an index, and the ids of a period are one range.

A member has the lines of one folder and period. Index and blobs are in order of (period, hash of the folder, folder),
the order of publishing. A large member is a separate blob of gzip or Zstandard, which an object
of that compression can copy unchanged. Small adjacent
members of one period share a blob: compressing and decompressing a line costs twice the CPU in a blob of ten lines as
in one of 64. An object cannot copy a shared blob, so it is an LZ4 frame: less than half the CPU, and 1.5 times the
bytes.

The trailer (`core/log/trailer.py`) has the digest of the footer, and the footer that of every blob. The segment's own
digest is the trailer's, so a chain of `prev` digests covers every byte. Digests are XXH3-128: they detect accidents,
not manipulation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import lz4.frame
import msgspec
import numpy as np
import xxhash
from isal import isal_zlib
from numpy.typing import NDArray

from vortex.core.compression import ZSTD_OPTIONS, Compression, zstd
from vortex.core.log.trailer import CorruptSegment, Trailer
from vortex.core.model import Position, ShardInfo

VERSION = 7
"""Version 7 has blobs of Zstandard. A segment without them has version 6, so that older programs read it."""
OLDEST = 6
"""The oldest supported version. Earlier ones have other names for `closed_before` and `advances`."""
SEGMENT_TRAILER = Trailer("segment", b"VORTEXSG", OLDEST, VERSION)
LEVEL = 2
_BROKEN: tuple[type[Exception], ...] = (
    isal_zlib.error,  # type: ignore[assignment]  # its stub says an instance
    zstd.ZstdError,
)
_NOT_A_FOOTER: tuple[type[Exception], ...] = (msgspec.MsgspecError, struct.error, *_BROKEN)
GZIP = 31
_LZ4 = b"\x04\x22\x4d\x18"
"""The magic of an LZ4 frame: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md."""
_ZSTD = b"\x28\xb5\x2f\xfd"
"""The magic of a Zstandard frame: RFC 8878, section 3.1.1."""
ACCELERATION = -4
"""LZ4's negative levels look for matches in fewer places: a quarter less CPU than its default, 5 % more bytes."""
MEMBER = np.dtype(
    [
        ("folder", "<u4"),
        ("period", "<i8"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("rows", "<u8"),
        ("raw", "<u8"),
        ("digest", "V16"),
    ]
)
"""One member: `folder` indexes the footer's folders, `raw` is the size of its lines. `offset`, `length` and `digest`
are of its blob; members with the same offset share it, one after another (`member_offsets`)."""

Members = NDArray[np.void]
_Blob = TypeVar("_Blob", bytes, memoryview)


class Counts(msgspec.Struct, forbid_unknown_fields=False):
    """Counts of what was read. `events = accepted + filtered + rejected`; late, early, untimed are among the accepted.

    `bytes` is the size of the accepted lines with newlines; `records` is counted in total only, not per period.
    """

    records: int = 0
    events: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    late: int = 0
    early: int = 0
    bytes: int = 0
    untimed: int = 0

    @property
    def lines(self) -> int:
        """Those that are kept."""
        return self.accepted + self.rejected

    def add(self, other: Counts) -> None:
        """Add `other` in place."""
        for name in other.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Folder(msgspec.Struct, frozen=True):
    """A partition's folder as rendered when the segment was made; `hash` orders the members.

    `beside`: it has the data that did not fit into rejection lines; its lines are not counted.
    """

    path: str
    hash: int
    customer: str = ""
    event_type: str = ""
    rejected: bool = False
    beside: bool = False


class Footer(msgspec.Struct, kw_only=True):
    """Everything but the data. Times are epoch milliseconds.

    `position` is where reading continues. `arrived` is the watermark at the segment's first row and after its last one
    (its own watermark if it has no rows): bounds for the arrival of its rows. `ended` closes the log, and `children`
    are the shards that follow. A segment with `advances` only advances `closed_before`. `gap` says what could not be
    read, and why.
    """

    shard: str
    n: int
    prev: str
    owner: str
    start: Position
    position: Position
    watermark: int
    closed_before: int
    created: int
    counts: Counts
    periods: dict[int, Counts]
    folders: list[Folder]
    members: bytes
    ids: int
    ids_digest: bytes
    data_bytes: int
    arrived: tuple[int, int]
    ended: bool = False
    children: tuple[ShardInfo, ...] = ()
    advances: bool = False
    gap: str = ""
    settings: str = ""
    version: int = OLDEST

    @property
    def member_rows(self) -> Members:
        """The member index as a structured array, in stored order."""
        return np.frombuffer(self.members, dtype=MEMBER)

    @property
    def ids_range(self) -> tuple[int, int]:
        """Offset and length of the id block."""
        return self.data_bytes, 16 * self.ids

    @property
    def rejections(self) -> NDArray[np.bool_]:
        """Which of the members contain rejections."""
        rejected = np.array([folder.rejected for folder in self.folders], dtype=bool)
        return rejected[self.member_rows["folder"]] if len(rejected) else rejected

    @property
    def first_rows(self) -> NDArray[np.int64]:
        """For each member, the number of its first row within the segment."""
        rows = np.where(self.rejections, 0, self.member_rows["rows"].astype(np.int64))
        return np.cumsum(rows) - rows


def empty_footer(
    shard: str,
    n: int = 0,
    prev: str = "",
    *,
    owner: str,
    created: int,
    position: Position,
    watermark: int,
    closed_before: int,
    start: Position | None = None,
) -> Footer:
    """The footer of a segment without lines and counts; `start` defaults to `position`."""
    return Footer(
        shard=shard,
        n=n,
        prev=prev,
        owner=owner,
        start=start or position,
        position=position,
        watermark=watermark,
        closed_before=closed_before,
        created=created,
        counts=Counts(),
        periods={},
        folders=[],
        members=b"",
        ids=0,
        ids_digest=b"",
        data_bytes=0,
        arrived=(watermark, watermark),
    )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment ready to be put."""

    footer: Footer
    digest: str
    body: bytes


class Cell(msgspec.Struct, frozen=True):
    """The key of a member: one folder in one period."""

    folder: Folder
    period: int


@lru_cache(maxsize=65_536)
def folder_hash(path: str) -> int:
    """The hash that orders the members of a segment, and assigns folders to ranges."""
    return xxhash.xxh3_64_intdigest(path.encode())


def blob_digest(data: bytes | memoryview) -> bytes:
    """Sixteen bytes, XXH3-128."""
    return xxhash.xxh3_128_digest(data)


def compress(data: bytes, compression: Compression = Compression.GZIP) -> bytes:
    """One gzip member without time or name in its header, or one Zstandard frame: equal data give equal bytes."""
    if compression is Compression.ZSTD:
        return zstd.compress(data, options=ZSTD_OPTIONS)
    return bytes(isal_zlib.compress(data, LEVEL, GZIP))


def lz4_frame(data: bytes) -> bytes:
    """One LZ4 frame, for data that are soon decompressed again."""
    return bytes(lz4.frame.compress(data, compression_level=ACCELERATION))


def member_offsets(members: Members) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each member, the offset of its lines in its decompressed blob, and the size of that."""
    raw = members["raw"].astype(np.int64)
    if not len(raw):
        return raw, raw
    first = np.flatnonzero(np.diff(members["offset"], prepend=np.uint64(2**64 - 1)))
    several = np.diff(first, append=len(raw))
    before = np.cumsum(raw) - raw
    return before - np.repeat(before[first], several), np.repeat(np.add.reduceat(raw, first), several)


def parse_footer(tail: bytes, size: int, name: str) -> tuple[Footer, str]:
    """Parse the footer and the segment's digest from a tail that contains them; `size` is the whole object's.

    Raises CorruptSegment for any byte that is not as it was sealed, OtherVersion.
    """
    packed, digest = SEGMENT_TRAILER.body(tail, name)
    try:
        unpacked = isal_zlib.decompress(packed)
        (end,) = struct.unpack_from("<I", unpacked)
        footer = msgspec.json.decode(unpacked[4 : 4 + end], type=Footer)
        footer.members = unpacked[4 + end :]
    except _NOT_A_FOOTER as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    if footer.data_bytes + 16 * footer.ids + len(packed) + SEGMENT_TRAILER.size != size:
        raise CorruptSegment(f"{name}: has {size} bytes, which differs from its footer")
    return footer, digest.hex()


def check_ids(footer: Footer, ids: bytes, name: str) -> bytes:
    """Return `ids` if they match the footer. Raises CorruptSegment."""
    if len(ids) != 16 * footer.ids or blob_digest(ids) != footer.ids_digest:
        raise CorruptSegment(f"{name}: the ids do not match their digest")
    return ids


def check_blob(blob: _Blob, digest: bytes, name: str) -> _Blob:
    """Return `blob` if it has this digest. Raises CorruptSegment."""
    if blob_digest(blob) != digest:
        raise CorruptSegment(f"{name}: a blob does not match its digest")
    return blob


def compression_of(data: bytes | memoryview) -> Compression | None:
    """How an object or a segment's blob is compressed; None for LZ4, which an object cannot copy."""
    magic = bytes(data[: len(_LZ4)])
    return None if magic == _LZ4 else Compression.ZSTD if magic == _ZSTD else Compression.GZIP


def decompress(blob: bytes | memoryview, name: str) -> bytes:
    """Decompress a segment's blob. Raises CorruptSegment."""
    if compression_of(blob) is not None:
        return decompress_object(blob, name)
    try:
        return bytes(lz4.frame.decompress(blob))
    except RuntimeError as problem:
        raise CorruptSegment(f"{name}: {problem}") from None


def decompress_object(data: bytes | memoryview, name: str) -> bytes:
    """Decompress an object: one or more gzip members, or Zstandard frames. Raises CorruptSegment."""
    parts: list[bytes] = []
    is_zstd = compression_of(data) is Compression.ZSTD
    try:
        while data:
            inflater = zstd.ZstdDecompressor() if is_zstd else isal_zlib.decompressobj(wbits=GZIP)
            parts.append(inflater.decompress(data))
            if not inflater.eof:
                raise CorruptSegment(f"{name}: a compressed member is truncated")
            data = inflater.unused_data
    except _BROKEN as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    return b"".join(parts)

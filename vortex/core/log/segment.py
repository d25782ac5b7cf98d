"""The segment: what one shard contributed between two commits, as one immutable object.

    blobs | ids, 16 bytes each | footer (JSON, member index) | trailer

Ids are in the order of lines: members as they are stored, in each as accepted; rejections have none. So row and line
correspond without an index, and the ids of a period are one range.

A member is what one folder and period have in it; index and blobs are in order of (period, hash of the folder, folder),
which is the order of publishing. A large member is a gzip blob of its own, which an object can take over as it is.
Small neighbours of one period share a blob: a line among ten costs twice the CPU of one among 64, to compress and to
unfold. No object can take that over, so it is an LZ4 frame: less than half the CPU, and half as many bytes again.

The trailer's 32 bytes are fixed for all versions: digest of the footer (with length and version), footer length,
format version, magic. The footer holds a digest of every blob, and the segment's own digest is the trailer's, so a
chain of `prev` digests vouches for every byte. Digests are XXH3-128: they find accidents, not forgers.
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

from vortex.core.model import Position, ShardInfo

VERSION = 6
"""Version 6 has `closed_before` and `advances`; older ones have other names for them."""
OLDEST = 6
"""The oldest that is read. Before, ids were in the order of acceptance, and no segment told when its rows came."""
TRAILER = struct.Struct("<16sII8s")
MAGIC = b"VORTEXSG"
LEVEL = 2
_BrokenStream: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says an instance
_GZIP = 31
_LZ4 = b"\x04\x22\x4d\x18"
"""How an LZ4 frame begins: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md."""
_ACCELERATION = -4
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
are of its blob; members with the same offset share it, and lie in it one after another (`member_offsets`)."""

Members = NDArray[np.void]
_Blob = TypeVar("_Blob", bytes, memoryview)


class CorruptSegment(Exception):
    """Bytes that are not the segment they claim to be; the message names the object."""


class OtherVersion(Exception):
    """Something of a format that this program does not know: a later one, or one that it reads no more."""


class Versioned(msgspec.Struct):
    """A document of the state in JSON, as far as its version is concerned."""

    version: int


def known_version(version: int, oldest: int, newest: int, name: str) -> None:
    """Raises OtherVersion, which says what to do."""
    if version > newest:
        raise OtherVersion(f"{name}: format version {version}; this program knows {newest}: run the newer one")
    if version < oldest:
        raise OtherVersion(
            f"{name}: format version {version}; this program reads {oldest} and later. Drain the stream with the "
            "version that wrote it (`vortex run --drain`), then begin anew in another prefix of store.url"
        )


class Counts(msgspec.Struct, forbid_unknown_fields=False):
    """What was read. `events = accepted + filtered + rejected`; late, early, untimed are of the accepted, the rows.

    `bytes` is of the accepted lines, newline included; `records` is known in all only, not per period.
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

    def add(self, other: Counts) -> None:
        """Add `other` in place."""
        for name in other.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Folder(msgspec.Struct, frozen=True):
    """A partition's folder as rendered when the segment was made; `hash` orders the members.

    One of rejections may be for what stands `beside` them, whose lines count as nothing.
    """

    path: str
    hash: int
    customer: str = ""
    event_type: str = ""
    rejected: bool = False
    beside: bool = False


class Footer(msgspec.Struct, kw_only=True):
    """Everything but the data. Times are epoch milliseconds.

    `position` is where reading goes on; `arrived` is the watermark at the segment's first row, and after its last one
    (its own where it has no rows): when its rows came, as near as anybody needs to know. `ended` closes the log, and
    `children` are what follows it. With `advances` it only moves `closed_before`; a `gap` says what could not be read,
    and why.
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
    version: int = VERSION

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
        """Which of the members hold rejections."""
        rejected = np.array([folder.rejected for folder in self.folders], dtype=bool)
        return rejected[self.member_rows["folder"]] if len(rejected) else rejected

    @property
    def first_rows(self) -> NDArray[np.int64]:
        """For each member the number of its first row within the segment."""
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
    """The footer of a segment without lines and counts; reading starts at `position`, too, unless `start` is given."""
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
    """What a member has the lines of: one folder in one period."""

    folder: Folder
    period: int


@lru_cache(maxsize=65_536)
def folder_hash(path: str) -> int:
    """Orders the members of a segment, and shares folders out to ranges."""
    return xxhash.xxh3_64_intdigest(path.encode())


def blob_digest(data: bytes | memoryview) -> bytes:
    """Sixteen bytes, XXH3-128."""
    return xxhash.xxh3_128_digest(data)


def compress(data: bytes) -> bytes:
    """One gzip member; no time or name in its header, so equal data gives equal bytes."""
    return bytes(isal_zlib.compress(data, LEVEL, _GZIP))


def lz4_frame(data: bytes) -> bytes:
    """One LZ4 frame, for what is unfolded again before long."""
    return bytes(lz4.frame.compress(data, compression_level=_ACCELERATION))


def member_offsets(members: Members) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of a segment's members where its lines begin in its blob, unfolded, and the bytes of all lines there."""
    raw = members["raw"].astype(np.int64)
    if not len(raw):
        return raw, raw
    first = np.flatnonzero(np.diff(members["offset"], prepend=np.uint64(2**64 - 1)))
    several = np.diff(first, append=len(raw))
    before = np.cumsum(raw) - raw
    return before - np.repeat(before[first], several), np.repeat(np.add.reduceat(raw, first), several)


def footer_digest(packed: bytes, version: int) -> bytes:
    """What the trailer says of the packed footer."""
    return xxhash.xxh3_128_digest(packed + struct.pack("<II", len(packed), version))


def footer_length(tail: bytes, name: str) -> int:
    """How many bytes of the object's end make up footer and trailer. Raises CorruptSegment, OtherVersion."""
    if len(tail) < TRAILER.size:
        raise CorruptSegment(f"{name}: {len(tail)} bytes are too few for a segment")
    _, length, version, magic = TRAILER.unpack(tail[-TRAILER.size :])
    if magic != MAGIC:
        raise CorruptSegment(f"{name}: does not end as a segment does")
    known_version(version, OLDEST, VERSION, name)
    return int(length) + TRAILER.size


def parse_footer(tail: bytes, size: int, name: str) -> tuple[Footer, str]:
    """The footer and the segment's digest, from a tail that holds all of it; `size` is the whole object's.

    Raises CorruptSegment for any byte that is not as it was sealed, OtherVersion.
    """
    length = footer_length(tail, name)
    if len(tail) < length:
        raise CorruptSegment(f"{name}: the footer is cut off")
    packed = tail[-length : -TRAILER.size]
    digest, _, version, _ = TRAILER.unpack(tail[-TRAILER.size :])
    if footer_digest(packed, version) != digest:
        raise CorruptSegment(f"{name}: the footer does not match its digest")
    try:
        unpacked = isal_zlib.decompress(packed)
        (end,) = struct.unpack_from("<I", unpacked)
        footer = msgspec.json.decode(unpacked[4 : 4 + end], type=Footer)
        footer.members = unpacked[4 + end :]
    except (msgspec.MsgspecError, struct.error, _BrokenStream) as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    if footer.data_bytes + 16 * footer.ids + length != size:
        raise CorruptSegment(f"{name}: {size} bytes, which is not what its footer says")
    return footer, digest.hex()


def check_ids(footer: Footer, ids: bytes, name: str) -> bytes:
    """`ids` if they are the footer's. Raises CorruptSegment."""
    if len(ids) != 16 * footer.ids or blob_digest(ids) != footer.ids_digest:
        raise CorruptSegment(f"{name}: the ids do not match their digest")
    return ids


def check_blob(blob: _Blob, digest: bytes, name: str) -> _Blob:
    """`blob` if it has this digest. Raises CorruptSegment."""
    if blob_digest(blob) != digest:
        raise CorruptSegment(f"{name}: a blob does not match its digest")
    return blob


def is_folded(blob: bytes | memoryview) -> bool:
    """Whether a segment's blob is LZ4: no object takes it over as it is."""
    return bool(blob[: len(_LZ4)] == _LZ4)


def decompress(blob: bytes | memoryview, name: str) -> bytes:
    """The raw bytes of a segment's blob. Raises CorruptSegment."""
    if not is_folded(blob):
        return gunzip(blob, name)
    try:
        return bytes(lz4.frame.decompress(blob))
    except RuntimeError as problem:
        raise CorruptSegment(f"{name}: {problem}") from None


def gunzip(data: bytes | memoryview, name: str) -> bytes:
    """The raw bytes of one or more gzip members, of which an object consists. Raises CorruptSegment."""
    parts: list[bytes] = []
    try:
        while data:
            inflater = isal_zlib.decompressobj(wbits=_GZIP)
            parts.append(inflater.decompress(data))
            if not inflater.eof:
                raise CorruptSegment(f"{name}: a gzip member is cut off")
            data = inflater.unused_data
    except _BrokenStream as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    return b"".join(parts)

"""The segment: what one shard contributed between two commits, as one immutable object.

    gzip members, by (hash of the folder, period) | ids, 16 bytes each | footer (JSON, member index) | trailer

The trailer's 32 bytes are fixed for all versions: digest of the footer (with length and version), footer length,
format version, magic. The footer holds a digest of every blob, and the segment's own digest is the trailer's, so a
chain of `prev` digests vouches for every byte. Digests are XXH3-128: they find accidents, not forgers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import xxhash
from isal import isal_zlib
from numpy.typing import NDArray

from vortex.core.model import Position, ShardInfo

VERSION = 1
TRAILER = struct.Struct("<16sII8s")
_MAGIC = b"VORTEXSG"
_LEVEL = 2
_BrokenStream: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says an instance
_GZIP = 31
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
"""One member: `folder` indexes the footer's folders, `raw` is its size unfolded, `digest` is of the gzip bytes."""

Members = NDArray[np.void]


class CorruptSegment(Exception):
    """Bytes that are not the segment they claim to be; the message names the object."""


class NewerVersion(Exception):
    """A segment of a later format than this program knows."""


class Counts(msgspec.Struct, forbid_unknown_fields=False):
    """What was read. `events = accepted + duplicates + rejected`; late and early are among the accepted.

    `bytes` is of the accepted lines, newline included; `records` is known in all only, not per period.
    """

    records: int = 0
    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    late: int = 0
    early: int = 0
    bytes: int = 0

    def add(self, other: Counts) -> None:
        """Add `other` in place."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Folder(msgspec.Struct, frozen=True):
    """A partition's folder as rendered when the segment was made; `hash` orders the members."""

    path: str
    hash: int
    customer: str = ""
    event_type: str = ""
    rejected: bool = False


class Footer(msgspec.Struct, kw_only=True):
    """Everything but the data. Times are epoch milliseconds.

    `position` is where reading goes on; `floors` names, for each log of the lineage, the oldest segment that the
    window after this one still needs. `ended` closes the log, and `children` are what follows it. A `bump` only moved
    `open_from`; a `gap` says what could not be read, and why.
    """

    shard: str
    n: int
    prev: str
    owner: str
    start: Position
    position: Position
    watermark: int
    open_from: int
    created: int
    counts: Counts
    periods: dict[int, Counts]
    folders: list[Folder]
    members: bytes
    ids: int
    ids_digest: bytes
    data_bytes: int
    floors: dict[str, int]
    ended: bool = False
    children: tuple[ShardInfo, ...] = ()
    bump: bool = False
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


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment ready to be put."""

    footer: Footer
    digest: str
    body: bytes


@dataclass(slots=True)
class Group:
    """The lines of one folder and period, without their newlines."""

    folder: Folder
    period: int
    lines: list[bytes]


def folder_hash(path: str) -> int:
    """Orders the members of a segment, and shares folders out to ranges."""
    return xxhash.xxh3_64_intdigest(path.encode())


def blob_digest(data: bytes) -> bytes:
    """Sixteen bytes, XXH3-128."""
    return xxhash.xxh3_128_digest(data)


def compress(data: bytes) -> bytes:
    """One gzip member; no time or name in its header, so equal data gives equal bytes."""
    return bytes(isal_zlib.compress(data, _LEVEL, _GZIP))


def seal(footer: Footer, groups: Iterable[Group], ids: bytes) -> Sealed:
    """Compress the groups; fill in the footer's index, and what lines tell of their periods (accepted, bytes, events).

    Heavy: meant for a worker thread.
    """
    ordered = sorted(groups, key=lambda group: (group.folder.hash, group.folder.path, group.period))
    folders: list[Folder] = []
    members: list[tuple[object, ...]] = []
    blobs: list[bytes] = []
    offset = 0
    for group in ordered:
        if not folders or folders[-1].path != group.folder.path:
            folders.append(group.folder)
        group.lines.append(b"")
        raw = b"\n".join(group.lines)
        blob = compress(raw)
        rows = len(group.lines) - 1
        members.append((len(folders) - 1, group.period, offset, len(blob), rows, len(raw), blob_digest(blob)))
        if not group.folder.rejected:
            counts = footer.periods.setdefault(group.period, Counts())
            counts.accepted += rows
            counts.bytes += len(raw)
        group.lines.clear()  # whoever made them may hold them, too; what nobody else holds goes here, a group at a time
        blobs.append(blob)
        offset += len(blob)
    footer.folders = folders
    footer.members = np.array(members, dtype=MEMBER).tobytes()
    for counts in footer.periods.values():
        counts.events = counts.accepted + counts.duplicates + counts.rejected
    footer.ids = len(ids) // 16
    footer.ids_digest = blob_digest(ids)
    footer.data_bytes = offset
    # JSON, since hash keys have 128 bits; the index beside it is binary, being by far the larger part.
    document = msgspec.json.encode(msgspec.structs.replace(footer, members=b""))
    packed = isal_zlib.compress(struct.pack("<I", len(document)) + document + footer.members, _LEVEL)
    digest = _footer_digest(packed, footer.version)
    blobs += [ids, packed, TRAILER.pack(digest, len(packed), footer.version, _MAGIC)]
    return Sealed(footer, digest.hex(), b"".join(blobs))


def _footer_digest(packed: bytes, version: int) -> bytes:
    return xxhash.xxh3_128_digest(packed + struct.pack("<II", len(packed), version))


def footer_length(tail: bytes, name: str) -> int:
    """How many bytes of the object's end make up footer and trailer. Raises CorruptSegment, NewerVersion."""
    if len(tail) < TRAILER.size:
        raise CorruptSegment(f"{name}: {len(tail)} bytes are too few for a segment")
    _, length, version, magic = TRAILER.unpack(tail[-TRAILER.size :])
    if magic != _MAGIC:
        raise CorruptSegment(f"{name}: does not end as a segment does")
    if version > VERSION:
        raise NewerVersion(f"{name}: format version {version}; this program knows {VERSION}")
    return int(length) + TRAILER.size


def parse_footer(tail: bytes, size: int, name: str) -> tuple[Footer, str]:
    """The footer and the segment's digest, from a tail that holds all of it; `size` is the whole object's.

    Raises CorruptSegment for any byte that is not as it was sealed, NewerVersion.
    """
    length = footer_length(tail, name)
    if len(tail) < length:
        raise CorruptSegment(f"{name}: the footer is cut off")
    packed = tail[-length : -TRAILER.size]
    digest, _, version, _ = TRAILER.unpack(tail[-TRAILER.size :])
    if _footer_digest(packed, version) != digest:
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


def check_member(blob: bytes, digest: bytes, name: str) -> bytes:
    """`blob` if it is the member with this digest. Raises CorruptSegment."""
    if blob_digest(blob) != digest:
        raise CorruptSegment(f"{name}: a member does not match its digest")
    return blob


def unfold(blob: bytes, name: str) -> bytes:
    """The raw bytes of one or more gzip members. Raises CorruptSegment."""
    parts: list[bytes] = []
    try:
        while blob:
            inflater = isal_zlib.decompressobj(wbits=_GZIP)
            parts.append(inflater.decompress(blob))
            if not inflater.eof:
                raise CorruptSegment(f"{name}: a gzip member is cut off")
            blob = inflater.unused_data
    except _BrokenStream as problem:
        raise CorruptSegment(f"{name}: {problem}") from None
    return b"".join(parts)

"""The last 32 bytes of segments and decision files: what the object is, and a digest of the part before them.

    digest, 16 bytes | length of the part | format version | magic, 8 bytes

The digest (XXH3-128) covers the part, its length and the version. The layout is the same for all versions.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgspec
import xxhash

_FIELDS = struct.Struct("<16sII8s")


class CorruptSegment(Exception):
    """A damaged object; the message names it."""


class OtherVersion(Exception):
    """A format version that this program does not support: a later one, or one that is too old."""


class Versioned(msgspec.Struct):
    """The version of a state document in JSON."""

    version: int


def known_version(version: int, oldest: int, newest: int, name: str) -> None:
    """Raises OtherVersion, whose message says what to do, for an unsupported version."""
    if version > newest:
        raise OtherVersion(f"{name}: format version {version}; this program knows up to {newest}; run the newer one")
    if version < oldest:
        raise OtherVersion(
            f"{name}: format version {version}; this program reads {oldest} and later. Drain the stream with the "
            "version that wrote it (`vortex run --drain`), then start with a new prefix in store.url"
        )


@dataclass(frozen=True, slots=True)
class Trailer:
    """The trailer of one kind of object, which this program reads in the versions from `oldest` to `newest`."""

    kind: str
    magic: bytes
    oldest: int
    newest: int

    size = _FIELDS.size

    def of(self, part: bytes, version: int) -> bytes:
        """The trailer of an object that ends in `part`."""
        return _FIELDS.pack(self.digest(part, version), len(part), version, self.magic)

    def digest(self, part: bytes, version: int) -> bytes:
        """Sixteen bytes: the digest in the trailer."""
        return xxhash.xxh3_128_digest(part + struct.pack("<II", len(part), version))

    def version(self, tail: bytes) -> int:
        """The format version in the trailer at the end of `tail`, known or not."""
        return int(_FIELDS.unpack(tail[-_FIELDS.size :])[2])

    def length(self, tail: bytes, name: str) -> int:
        """The size of part and trailer at the object's end. Raises CorruptSegment, OtherVersion."""
        if len(tail) < _FIELDS.size:
            raise CorruptSegment(f"{name}: {len(tail)} bytes are too few for a {self.kind}")
        _, length, version, magic = _FIELDS.unpack(tail[-_FIELDS.size :])
        if magic != self.magic:
            raise CorruptSegment(f"{name}: is not a {self.kind}: wrong trailer")
        known_version(version, self.oldest, self.newest, name)
        return int(length) + _FIELDS.size

    def body(self, tail: bytes, name: str) -> tuple[bytes, bytes]:
        """The part before the trailer, and its digest, from a tail that contains it.

        Raises CorruptSegment, OtherVersion.
        """
        length = self.length(tail, name)
        if len(tail) < length:
            raise CorruptSegment(f"{name}: its end is truncated")
        part = tail[-length : -_FIELDS.size]
        digest, _, version, _ = _FIELDS.unpack(tail[-_FIELDS.size :])
        if self.digest(part, version) != digest:
            raise CorruptSegment(f"{name}: its end does not match its digest")
        return part, digest

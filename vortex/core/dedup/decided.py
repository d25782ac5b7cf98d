"""The decision file: the decisions for one part of a plan's keys, `dedup/<k, 10 digits>-<part>`.

    published keys, sorted, 20 bytes each | dropped rows, 4 bytes each | runs | buckets | document (JSON) | trailer

It contains no time and no owner, so equal decisions give equal bytes. Keys are sorted by their bytes, so an equal range
of keys is one range of the file; a bucket gives the end and the digest of its keys. Dropped rows are row numbers within
their segment, run by run. The trailer (`core/log/trailer.py`) has a digest of runs, buckets and document, which contain
the digests of keys and dropped rows, so it protects every byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from vortex.core.dedup.keys import KEY, Packed, Times
from vortex.core.dedup.resolve import Bools
from vortex.core.dedup.rows import RUN, PlanRuns, Rows, RunTable, Words, part_of
from vortex.core.log.trailer import CorruptSegment, Trailer

VERSION = 1
DECISION_TRAILER = Trailer("decision file", b"VORTEXDD", 1, VERSION)
_BUCKET = np.dtype([("end", "<u8"), ("digest", "V16")])
_BUCKET_KEYS = 4096
"""Minimum keys per bucket; smaller buckets would take as much space as their keys."""
_MOST_BUCKETS = 4096
_STEP = 1 << 16
"""Keys that are packed at a time."""


class _Document(msgspec.Struct, kw_only=True):
    k: int
    part: int
    parts: int
    shards: list[str]
    runs: int
    buckets: int
    dropped: int
    dropped_digest: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision file without its keys. `digest` is the file's; `name` is for messages."""

    k: int
    part: int
    parts: int
    shards: list[str]
    runs: RunTable
    buckets: NDArray[np.void]
    dropped: int
    dropped_digest: bytes
    digest: str
    name: str

    @property
    def keys(self) -> int:
        """The number of published keys."""
        return int(self.buckets["end"][-1])

    @property
    def nbytes(self) -> int:
        """Bytes of memory, approximately."""
        return self.runs.nbytes + self.buckets.nbytes

    @property
    def times(self) -> tuple[Times, Times]:
        """When the rows of each run arrived: the lower and upper bounds."""
        return self.runs["lo"].copy(), self.runs["hi"].copy()

    @property
    def dropped_range(self) -> tuple[int, int]:
        """Offset and length of the dropped rows in the file."""
        return self.keys * KEY.itemsize, 4 * self.dropped

    def buckets_of(self, part: int, parts: int) -> tuple[int, int]:
        """The buckets first..last (half-open) of this file that contain range `part` of `parts` equal key ranges.

        A range smaller than a bucket gets the whole bucket.
        """
        several, all_ = len(self.buckets), self.parts * len(self.buckets)
        first = part * all_ // parts - self.part * several
        last = -(-(part + 1) * all_ // parts) - self.part * several
        return max(0, first), min(several, last)

    def bucket_bytes(self, first: int, last: int) -> tuple[int, int]:
        """Offset and length in the file of the buckets first..last (half-open)."""
        ends = self.buckets["end"]
        begin, end = (int(ends[at - 1]) if at else 0 for at in (first, max(first, last)))
        return begin * KEY.itemsize, (end - begin) * KEY.itemsize

    def buckets_with(self, high: Words) -> NDArray[np.int64]:
        """The numbers of the buckets that contain keys with these high words, without duplicates."""
        several = len(self.buckets)
        numbers = np.unique(part_of(high, self.parts * several)).astype(np.int64) - self.part * several
        return numbers[(numbers >= 0) & (numbers < several)]

    def keys_in(self, block: bytes, first: int, last: int) -> Packed:
        """The keys of the buckets first..last, from the bytes that `bucket_bytes` names, not copied.

        Raises CorruptSegment.
        """
        begin, length = self.bucket_bytes(first, last)
        if len(block) != length:
            raise CorruptSegment(f"{self.name}: its keys are truncated")
        at = 0
        ends = (self.buckets["end"][first:last] * np.uint64(KEY.itemsize)).tolist()
        for end, digest in zip(ends, self.buckets["digest"][first:last].tolist(), strict=True):
            if xxhash.xxh3_128_digest(block[at : end - begin]) != digest:
                raise CorruptSegment(f"{self.name}: some of its keys do not match their digest")
            at = end - begin
        return np.frombuffer(block, dtype=KEY)

    def dropped_rows(self, block: bytes) -> dict[tuple[str, int], list[NDArray[np.uint32]]]:
        """The numbers of the dropped rows of each segment, from the bytes that `dropped_range` names.

        Raises CorruptSegment.
        """
        if len(block) != 4 * self.dropped or xxhash.xxh3_128_digest(block) != self.dropped_digest:
            raise CorruptSegment(f"{self.name}: its dropped rows do not match their digest")
        rows = (
            np.split(np.frombuffer(block, dtype="<u4"), np.cumsum(self.runs["dropped"])[:-1]) if len(self.runs) else []
        )
        found: dict[tuple[str, int], list[NDArray[np.uint32]]] = {}
        for run, some in zip(self.runs.tolist(), rows, strict=True):
            if len(some):
                found.setdefault((self.shards[run[0]], run[1]), []).append(some)
        return found


def encode(k: int, part: int, parts: int, runs: PlanRuns, rows: Rows, dropped: Bools) -> bytes:
    """The file for the result of `resolve`: which of the `rows`, sorted by key, are dropped."""
    kept = published(dropped)
    high = rows.high if kept.all() else rows.high[kept]
    file = BytesIO()
    if len(high):  # a buffer that grows is copied many times
        file.seek(len(high) * KEY.itemsize - 1)
        file.write(b"\0")
        file.seek(0)
    for begin in range(0, len(rows), _STEP):
        some, its = rows.between(begin, begin + _STEP), kept[begin : begin + _STEP]
        keys = np.empty(np.count_nonzero(its), dtype=KEY)
        keys["high"], keys["low"], keys["run"] = some.high[its], some.low[its], some.run[its]
        file.write(keys.view(np.uint8).data)
    with file.getbuffer() as packed:
        buckets = _buckets(high, packed, part, parts)
    del high
    table = runs.table.copy()
    table["rows"] = np.bincount(rows.run, minlength=len(table))
    left_out = rows.run[dropped], rows.row[dropped]
    table["dropped"] = np.bincount(left_out[0], minlength=len(table))
    out = left_out[1][np.lexsort(left_out[::-1])].astype("<u4").tobytes()
    document = _Document(
        k=k,
        part=part,
        parts=parts,
        shards=runs.shards,
        runs=len(table),
        buckets=len(buckets),
        dropped=len(out) // 4,
        dropped_digest=xxhash.xxh3_128_digest(out),
    )
    rest = b"".join([table.tobytes(), buckets.tobytes(), msgspec.json.encode(document)])
    whole = struct.pack("<I", len(table) * RUN.itemsize + buckets.nbytes) + rest
    file.writelines((out, whole, DECISION_TRAILER.of(whole, VERSION)))
    return file.getvalue()


def published(dropped: Bools) -> Bools:
    """The rows whose keys are stored. Not those that are dropped: if their keys counted, an id that repeats within each
    window would be published once and never again.
    """
    return ~dropped


def _buckets(high: Words, packed: memoryview, part: int, parts: int) -> NDArray[np.void]:
    several = min(_MOST_BUCKETS, 1 << max(0, (len(high) // _BUCKET_KEYS).bit_length() - 1))
    table = np.zeros(several, dtype=_BUCKET)
    shift = 65 - (parts * several).bit_length()
    begins = np.array([(part * several + at) << shift for at in range(1, several)], dtype=np.uint64)
    table["end"] = np.append(np.searchsorted(high, begins), len(high))
    begin = 0
    digests = []
    for end in (table["end"] * np.uint64(KEY.itemsize)).tolist():
        digests.append(xxhash.xxh3_128_digest(packed[begin:end]))
        begin = end
    table["digest"] = np.frombuffer(b"".join(digests), dtype="V16")
    return table


def parse(tail: bytes, size: int, name: str) -> Decided:
    """Parse the file from a tail of at least `DECISION_TRAILER.length` bytes; `size` is that of the whole file.

    Raises CorruptSegment if any byte was changed, OtherVersion.
    """
    whole, digest = DECISION_TRAILER.body(tail, name)
    (binary,) = struct.unpack_from("<I", whole)
    document = msgspec.json.decode(whole[4 + binary :], type=_Document)
    runs = np.frombuffer(whole, dtype=RUN, count=document.runs, offset=4)
    buckets = np.frombuffer(whole, dtype=_BUCKET, count=document.buckets, offset=4 + runs.nbytes)
    decided = Decided(
        document.k,
        document.part,
        document.parts,
        document.shards,
        runs,
        buckets,
        document.dropped,
        document.dropped_digest,
        digest.hex(),
        name,
    )
    if decided.keys * KEY.itemsize + 4 * document.dropped + len(whole) + DECISION_TRAILER.size != size:
        raise CorruptSegment(f"{name}: has {size} bytes, which differs from its document")
    return decided

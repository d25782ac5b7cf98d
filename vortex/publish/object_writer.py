"""Writes the objects of a plan: reads blobs in few requests, joins or recompresses them, and puts them if absent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

import msgspec
import xxhash

from vortex import metrics
from vortex.core.compression import Compression
from vortex.core.log.segment import check_blob, compress, compression_of, decompress
from vortex.core.log.streaming import STEP, Counted, decompressed, kept_lines, member, members_in, same_text
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.contents import PublishedObject
from vortex.core.publish.pieces import ObjectSpec, Piece
from vortex.core.publish.plan import Plan
from vortex.log.objects import PAUSES_S, wait_to_read_again
from vortex.log.store import LogStore
from vortex.ports import Meter, Offload
from vortex.publish.copies import BlobData, Copies, blobs_of

log = logging.getLogger(__name__)

_BATCH = 16 * 1024 * 1024
"""Compressed bytes and objects per batch; with the objects being built, this is the memory that publishing uses."""
_BATCH_OBJECTS = 500
_BUILD_BYTES = 16 * 1024 * 1024
"""Bytes of lines that one thread builds in one call, so that neighbours share decompressed blobs."""
_PARALLEL_BUILDS = 2
PARALLEL_PUTS = 48
"""A PUT of a small object takes about 25 ms of waiting, and half a millisecond of this process. The client has 64
connections, so commits do not wait for one."""
NDJSON = "application/x-ndjson"
_NO_BLOB = (-1, memoryview(b""))


class ForeignObject(Exception):
    """A key of a plan exists with different content. Publishing stops: it must be neither overwritten nor skipped."""


@dataclass(frozen=True, slots=True)
class ObjectWriter:
    """Writes batches of objects (see `batches`) to the log store's object store."""

    log_store: LogStore
    meter: Meter
    offload: Offload
    building: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PARALLEL_BUILDS))
    putting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PARALLEL_PUTS))

    async def write(
        self, specs: Sequence[ObjectSpec], plan: Plan, copies: Copies, built: Callable[[], None] = lambda: None
    ) -> list[PublishedObject]:
        """Build a batch's objects, and put them. Calls `built` when the blobs have left memory.

        Raises ForeignObject, CorruptSegment.
        """
        data = await copies.blobs(specs)
        runs = list(_runs_of(specs, lambda spec: spec.raw, _BUILD_BYTES, _BATCH_OBJECTS))
        left = len(runs)

        async def put(several: Sequence[tuple[ObjectSpec, bytes, int]]) -> list[PublishedObject]:
            async with self.putting:
                return await self._put_object(several)

        async def some(several: Sequence[ObjectSpec]) -> list[PublishedObject]:
            nonlocal left
            async with self.building:
                made = await self._built(several, data, plan)
                left -= 1
                if not left:
                    data.clear()  # the objects are in memory now
                    built()
            members = ((spec, *one) for spec, one in zip(several, made, strict=True))
            objects = await asyncio.gather(*(put(list(its)) for _, its in groupby(members, key=lambda one: one[0].key)))
            return [published for its in objects for published in its]

        parts = await asyncio.gather(*map(some, runs))
        return [published for part in parts for published in part]

    async def _built(self, specs: Sequence[ObjectSpec], data: BlobData, plan: Plan) -> list[tuple[bytes, int]]:
        """The objects, each with the size of its lines. Blobs that do not match their digests are read again.

        Raises CorruptSegment.
        """
        for pause in PAUSES_S:
            try:
                return await self.offload(_bodies, specs, data, plan.small, plan.compression)
            except CorruptSegment as problem:
                await wait_to_read_again(self.log_store.retry, problem, pause)
                data = await blobs_of(self.log_store, specs)
        return await self.offload(_bodies, specs, data, plan.small, plan.compression)

    async def _put_object(self, members: Sequence[tuple[ObjectSpec, bytes, int]]) -> list[PublishedObject]:
        """Put an object, or a bundle of several members: each with its bytes, and the number of bytes of its lines."""
        log_store, key = self.log_store, members[0][0].key
        bodies: Sequence[bytes] = [body for _, body, _ in members]
        body = b"".join(bodies)
        created = await log_store.retry(f"publish {key}", lambda: log_store.store.put_if_absent(key, body, NDJSON))
        if not created:
            bodies = await self._compared(key, bodies)
        self.meter.observe(metrics.OBJECT_BYTES, sum(map(len, bodies)))
        at, rows = 0, []
        for (spec, _, raw), its in zip(members, bodies, strict=True):
            rows.append(_row(spec, its, raw, at))
            at += len(its)
        return rows

    async def _compared(self, key: str, bodies: Sequence[bytes]) -> Sequence[bytes]:
        """The members of the existing object if they have the same lines, even compressed differently.

        Raises ForeignObject.
        """
        for pause in (0.0, *PAUSES_S):
            if pause:
                await wait_to_read_again(self.log_store.retry, f"{key}: exists, and does not have the lines", pause)
            existing = await self.log_store.retry(f"compare {key}", lambda: self.log_store.store.get(key))
            with contextlib.suppress(CorruptSegment):
                if (same := await self.offload(_same_lines, existing, bodies, key)) is not None:
                    return same
        raise ForeignObject(
            f"{key}: exists with different content; another program or stream writes to this store. "
            "Nothing was overwritten; publishing stopped"
        )


def _row(spec: ObjectSpec, body: bytes, raw: int, at: int) -> PublishedObject:
    return PublishedObject(
        key=spec.key,
        folder=spec.folder.path,
        period=spec.period,
        customer=spec.folder.customer,
        event_type=spec.folder.event_type,
        rejected=spec.folder.rejected,
        rows=spec.rows,
        bytes=len(body),
        raw=raw,
        digest=xxhash.xxh3_128_hexdigest(body),
        beside=spec.folder.beside,
        at=at if spec.bundled else msgspec.UNSET,
    )


def batches(specs: Sequence[ObjectSpec]) -> Iterator[list[ObjectSpec]]:
    """The objects in batches that are small enough for memory."""
    return _runs_of(specs, lambda spec: spec.length, _BATCH, _BATCH_OBJECTS)


def _runs_of(
    specs: Sequence[ObjectSpec], size_of: Callable[[ObjectSpec], int], most: int, number: int
) -> Iterator[list[ObjectSpec]]:
    """Runs of at most `number` objects and `most` bytes in total; a larger object, or bundle, is a run by itself."""
    run: list[ObjectSpec] = []
    total = 0
    for _, several in groupby(specs, key=lambda spec: spec.key):
        its = list(several)
        size = sum(map(size_of, its))
        if run and (total + size > most or len(run) >= number):
            yield run
            run, total = [], 0
        run += its
        total += size
    if run:
        yield run


class Blobs:
    """The checked blobs of a batch. A blob that neighbours share is decompressed only once."""

    def __init__(self, data: BlobData) -> None:
        self._data = data
        self._decompressed: dict[tuple[str, int], tuple[int, memoryview]] = {}
        """By segment, the offset and lines of the last blob: objects are made in the order of blobs."""

    def reusable(self, piece: Piece, compression: Compression) -> bool:
        """Whether the piece's blob can be copied into an object of this compression unchanged."""
        return piece.whole_blob and compression_of(self._data[piece.shard, piece.n, piece.offset]) is compression

    def whole(self, piece: Piece) -> memoryview:
        """The piece's blob. Raises CorruptSegment."""
        return check_blob(self._data[piece.shard, piece.n, piece.offset], piece.digest, _name(piece))

    def lines(self, piece: Piece) -> Iterator[bytes]:
        """The text of the piece's lines without those left out as duplicates, in parts. Raises CorruptSegment."""
        if piece.raw <= STEP:
            texts = iter((bytes(self._all_lines(piece)),))
        else:
            texts = decompressed(self.whole(piece), _name(piece))
        return kept_lines(texts, piece.out, _name(piece)) if len(piece.out) else texts

    def text(self, pieces: Sequence[Piece]) -> bytes:
        """The same of several pieces that together are no more than a step."""
        parts: list[bytes | memoryview] = []
        for piece in pieces:
            if len(piece.out):
                parts += self.lines(piece)
            else:
                parts.append(self._all_lines(piece))
        return b"".join(parts)

    def _all_lines(self, piece: Piece) -> bytes | memoryview:
        """A view where others share the blob: the lines are copied once, when the object's text is joined."""
        if not piece.shares:
            return decompress(self.whole(piece), _name(piece))
        segment = piece.shard, piece.n
        offset, text = self._decompressed.get(segment, _NO_BLOB)
        if offset != piece.offset:
            text = memoryview(decompress(self.whole(piece), _name(piece)))
            self._decompressed[segment] = piece.offset, text
        return text[piece.begin : piece.begin + piece.raw]


def _name(piece: Piece) -> str:
    return f"{piece.shard} segment {piece.n} at {piece.offset}"


def _bodies(
    specs: Sequence[ObjectSpec], data: BlobData, small: int, compression: Compression
) -> list[tuple[bytes, int]]:
    """The bytes of some consecutive objects, and the number of bytes of their lines."""
    blobs = Blobs(data)
    return [_body(spec, blobs, small, compression) for spec in specs]


def _body(spec: ObjectSpec, blobs: Blobs, small: int, compression: Compression) -> tuple[bytes, int]:
    """The object's bytes: reusable blobs unchanged, and one new member for each run of other lines.

    If the pieces are small, one new member of all lines.
    """
    parts, raw, must_recompress = list[bytes | memoryview](), 0, spec.must_recompress(small)

    def reusable(piece: Piece) -> bool:
        return blobs.reusable(piece, compression)

    for whole, pieces in ((False, spec.pieces),) if must_recompress else groupby(spec.pieces, key=reusable):
        its = list(pieces)
        if whole:
            parts += map(blobs.whole, its)
            raw += sum(piece.raw for piece in its)
        elif sum(piece.raw for piece in its) <= STEP:
            text = blobs.text(its)
            parts.append(compress(text, compression) if text else b"")
            raw += len(text)
        else:
            lines = Counted(chain.from_iterable(map(blobs.lines, its)))
            parts.append(member(lines, compression))
            raw += lines.size
    return b"".join(parts), raw  # a single member is not copied


def _same_lines(existing: bytes, ours: Sequence[bytes], key: str) -> Sequence[bytes] | None:
    """The existing object, cut as ours, if each part has the same lines; else None. Raises CorruptSegment."""
    if existing == b"".join(ours):
        return ours
    theirs = [existing] if len(ours) == 1 else members_in(existing, key)
    if len(theirs) != len(ours):
        return None
    pairs = zip(theirs, ours, strict=True)
    return theirs if all(same_text(decompressed(one, key), decompressed(other, key)) for one, other in pairs) else None

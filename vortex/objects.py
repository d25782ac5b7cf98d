"""Writes the objects of a plan: members read in few requests, joined or compressed afresh, put if absent, compared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from vortex.core.publication import ObjectSpec, Piece, PublishedObject
from vortex.core.segment import check_member, compress, unfold
from vortex.journal import Journal
from vortex.ports import Meter, Offload

_BATCH = 32 * 1024 * 1024
"""Compressed bytes, and objects, worked on at a time: with the object being built, what publishing takes of memory."""
_BATCH_OBJECTS = 500
_NEAR = 256 * 1024  # members closer than this in a segment are read in one request
_PARALLEL_PUTS = 16
NDJSON = "application/x-ndjson"


class ForeignObject(Exception):
    """A key that a plan names exists with other content. Publishing stops: it must not be overwritten, nor skipped."""


@dataclass(frozen=True, slots=True)
class ObjectWriter:
    """Writes batches of objects (see `batches`) to the journal's store."""

    journal: Journal
    meter: Meter
    offload: Offload

    async def write(self, specs: Sequence[ObjectSpec], small: int) -> list[PublishedObject]:
        """Read a batch's members, build its objects, put them. Raises ForeignObject, CorruptSegment."""
        data = await self._read_pieces([piece for spec in specs for piece in spec.pieces])
        gate = asyncio.Semaphore(_PARALLEL_PUTS)

        async def one(spec: ObjectSpec) -> PublishedObject:
            async with gate:
                body = await self.offload(_body, spec, data, small)
                return await self._put_object(spec, body)

        return list(await asyncio.gather(*(one(spec) for spec in specs)))

    async def _read_pieces(self, pieces: Sequence[Piece]) -> dict[tuple[str, int, int], memoryview]:
        """The gzip members by (shard, n, offset); neighbours in a segment are read in one request."""
        by_segment: dict[tuple[str, int], list[Piece]] = {}
        for piece in pieces:
            by_segment.setdefault((piece.shard, piece.n), []).append(piece)
        runs = [run for several in by_segment.values() for run in _runs(several)]

        async def read(run: Sequence[Piece]) -> dict[tuple[str, int, int], memoryview]:
            first, last = run[0], run[-1]
            length = last.offset + last.length - first.offset
            block = memoryview(await self.journal.range(first.shard, first.n, first.offset, length))
            return {
                (p.shard, p.n, p.offset): block[p.offset - first.offset : p.offset - first.offset + p.length]
                for p in run
            }

        found: dict[tuple[str, int, int], memoryview] = {}
        for part in await asyncio.gather(*(read(run) for run in runs)):
            found.update(part)
        return found

    async def _put_object(self, spec: ObjectSpec, body: bytes) -> PublishedObject:
        journal = self.journal
        created = await journal.retry(
            f"publish {spec.key}", lambda: journal.store.put_if_absent(spec.key, body, NDJSON)
        )
        if not created:
            there = await journal.retry(f"compare {spec.key}", lambda: journal.store.get(spec.key))
            if there != body and not await self.offload(_same_lines, there, body, spec.key):
                raise ForeignObject(
                    f"{spec.key}: exists with other content than plan says; another program or stream writes to "
                    "this store. Nothing was overwritten; publishing has stopped"
                )
            body = there  # the same lines, perhaps by another version's compressor: what counts is what lies there
        self.meter.observe("vortex_object_bytes", len(body))
        return PublishedObject(
            key=spec.key,
            folder=spec.folder.path,
            period=spec.period,
            customer=spec.folder.customer,
            event_type=spec.folder.event_type,
            rejected=spec.folder.rejected,
            rows=sum(piece.rows for piece in spec.pieces),
            bytes=len(body),
            raw=sum(piece.raw for piece in spec.pieces),
            digest=xxhash.xxh3_128_hexdigest(body),
        )


def batches(specs: Sequence[ObjectSpec]) -> Iterator[list[ObjectSpec]]:
    """The objects in runs that are small enough to be worked on at a time."""
    batch: list[ObjectSpec] = []
    size = 0
    for spec in specs:
        if batch and (size + spec.length > _BATCH or len(batch) >= _BATCH_OBJECTS):
            yield batch
            batch, size = [], 0
        batch.append(spec)
        size += spec.length
    if batch:
        yield batch


def _runs(pieces: list[Piece]) -> Iterator[list[Piece]]:
    run: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: p.offset):
        if run and piece.offset - (run[-1].offset + run[-1].length) > _NEAR:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _body(spec: ObjectSpec, data: Mapping[tuple[str, int, int], memoryview], small: int) -> bytes:
    """The object's bytes: its members as they are, or one fresh member of all their lines."""
    blobs = []
    for piece in spec.pieces:
        blob = bytes(data[piece.shard, piece.n, piece.offset])
        blobs.append(check_member(blob, piece.digest, f"{piece.shard} segment {piece.n} at {piece.offset}"))
    if spec.afresh(small):
        return compress(b"".join(unfold(blob, spec.key) for blob in blobs))
    return b"".join(blobs)


def _same_lines(there: bytes, ours: bytes, key: str) -> bool:
    return unfold(there, key) == unfold(ours, key)

"""A worker's copy of what it publishes: each segment is read once for all its objects.

The blobs of a range lie together in a segment, but an object needs one of each segment. So they are copied first: into
memory if they fit there, else into a temporary file. Whatever was not copied is read from the store where it is needed.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from vortex.core.publish.members import Members, Run
from vortex.core.publish.pieces import ObjectSpec, Piece
from vortex.log.store import LogStore
from vortex.ports import NoRoom, Offload, Scratch, ScratchFile
from vortex.under_way import BytesUnderWay

log = logging.getLogger(__name__)

NEAR = 256 * 1024
"""Blobs closer than this in a segment are read in one request."""
_REQUEST = 16 * 1024 * 1024
"""Bytes of one request at most."""
_UNDER_WAY = 64 * 1024 * 1024
"""Bytes that all requests under way may bring, if the memory for copies is not less."""
BlobData = dict[tuple[str, int, int], memoryview]
"""Blobs as read, by (shard, n, offset)."""
_Place = memoryview | int | None
"""Where a copy is: in memory, or at an offset of the scratch file; None where there was no room."""


@dataclass(slots=True)
class _Copied:
    """What is copied of one segment: ranges of it in order, each with the task that brings it."""

    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[_Place]] = field(default_factory=list)


class Copies:
    """The blobs of a pass, copied while its first objects are made. Used as a context, which removes the copy."""

    def __init__(self, log_store: LogStore, offload: Offload, file: ScratchFile | None, memory: int) -> None:
        """Copies into `file`, or into memory. `memory`: bytes that all requests under way may bring."""
        self.full = False
        """Whether the file had no more room: what is missing is read from the store."""
        self._log_store, self._offload, self._file = log_store, offload, file
        self._copied: dict[tuple[str, int], _Copied] = {}
        self._under_way = BytesUnderWay(min(memory, _UNDER_WAY))

    async def __aenter__(self) -> Copies:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for copied in self._copied.values() for task in copied.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # all of them end before the file is closed
        self._copied.clear()
        if self._file is not None:
            self._file.close()

    def begin(self, runs: Sequence[Run], limit: int) -> None:
        """Begin to copy ranges of segments, up to `limit` bytes, in the order in which they are given."""
        place = 0
        for shard, n, begin, end in runs:
            if place + end - begin > limit:
                break
            copied = self._copied.setdefault((shard, n), _Copied())
            at = bisect_right(copied.begins, begin)
            copied.begins.insert(at, begin)
            copied.ends.insert(at, end)
            copied.tasks.insert(at, asyncio.ensure_future(self._copy(shard, n, begin, end, place)))
            place += end - begin

    async def _copy(self, shard: str, n: int, begin: int, end: int, at: int) -> _Place:
        """Where the copy is. Raises what `range` raises."""
        async with self._under_way.of(end - begin):
            if self.full:
                return None
            data = await self._log_store.range(shard, n, begin, end - begin)
            if self._file is None:
                return memoryview(data)
            try:
                await self._offload(self._file.write, at, data)
            except NoRoom as problem:
                if not self.full:
                    log.warning("%s; segments are read again where they are needed", problem)
                self.full = True
                return None
            return at

    async def blobs(self, specs: Iterable[ObjectSpec]) -> BlobData:
        """The blobs of some objects, once they are copied. Raises NotFound."""
        there: list[tuple[Piece, int, int]] = []
        found: BlobData = {}
        missing: list[Piece] = []
        segments = self._copied
        for piece in _one_of_each_blob(specs):
            shard, n, offset, length = piece.shard, piece.n, piece.offset, piece.length
            copied = segments.get((shard, n))
            at = bisect_right(copied.begins, offset) - 1 if copied else -1
            if copied is None or at < 0 or offset + length > copied.ends[at]:
                missing.append(piece)
                continue
            copy = copied.tasks[at]
            if not copy.done():  # `wait` costs as much as all else that a piece needs
                await asyncio.wait((copy,))
            within, place = offset - copied.begins[at], copy.result()
            if place is None:
                missing.append(piece)
            elif isinstance(place, memoryview):
                found[shard, n, offset] = place[within : within + length]
            else:
                there.append((piece, place + within, length))
        if there and self._file is not None:
            try:
                found |= await self._offload(_from_file, self._file, there)
            except NoRoom as problem:
                log.warning("%s; reading the segments again", problem)
                missing += [piece for piece, _, _ in there]
        if missing:
            found |= await read_blobs(self._log_store, missing)
        return found


def _one_of_each_blob(specs: Iterable[ObjectSpec]) -> Iterable[Piece]:
    """A piece of each blob: dozens of small pieces share one, which is found and read once."""
    return {(piece.shard, piece.n, piece.offset): piece for spec in specs for piece in spec.pieces}.values()


def _from_file(file: ScratchFile, wanted: Sequence[tuple[Piece, int, int]]) -> BlobData:
    """Read blobs from the file, neighbours together."""
    found: BlobData = {}
    run: list[tuple[Piece, int, int]] = []

    def read() -> None:
        begin, end = run[0][1], run[-1][1] + run[-1][2]
        block = memoryview(file.read(begin, end - begin))
        for piece, at, length in run:
            found[piece.shard, piece.n, piece.offset] = block[at - begin : at - begin + length]

    for one in sorted(wanted, key=lambda some: some[1]):
        if run and one[1] - (run[-1][1] + run[-1][2]) > 0:
            read()
            run = []
        run.append(one)
    if run:
        read()
    return found


async def blobs_of(log_store: LogStore, specs: Iterable[ObjectSpec]) -> BlobData:
    """The blobs of some objects, read from the store. Raises NotFound."""
    return await read_blobs(log_store, _one_of_each_blob(specs))


async def read_blobs(log_store: LogStore, pieces: Iterable[Piece]) -> BlobData:
    """The blobs of some pieces; blobs that are close in a segment are read in one request. Raises NotFound."""
    by_segment: dict[tuple[str, int], list[Piece]] = {}
    for piece in pieces:
        by_segment.setdefault((piece.shard, piece.n), []).append(piece)
    runs = [run for several in by_segment.values() for run in _runs(several)]

    async def read(run: Sequence[Piece]) -> BlobData:
        first, last = run[0], run[-1]
        length = last.offset + last.length - first.offset
        block = memoryview(await log_store.range(first.shard, first.n, first.offset, length))
        return {
            (p.shard, p.n, p.offset): block[p.offset - first.offset : p.offset - first.offset + p.length] for p in run
        }

    found: BlobData = {}
    for part in await asyncio.gather(*(read(run) for run in runs)):
        found.update(part)
    return found


def _runs(pieces: list[Piece]) -> list[list[Piece]]:
    runs: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.offset):
        if not runs or piece.offset - (runs[-1][-1].offset + runs[-1][-1].length) > NEAR:
            runs.append([])
        runs[-1].append(piece)
    return runs


class NoScratch:
    """No room on disk."""

    limit = 0

    def open(self) -> ScratchFile:
        """Refuse."""
        raise NoRoom("publish.scratch is 0")


class Copier:
    """Makes the copies of one plan, pass by pass."""

    def __init__(self, log_store: LogStore, offload: Offload, scratch: Scratch, memory: int) -> None:
        """A pass of up to `memory` bytes is copied into memory; a larger one into `scratch`, so much at a time."""
        self._log_store, self._offload, self._scratch, self._memory = log_store, offload, scratch, memory
        self._no_room = False

    @asynccontextmanager
    async def next_pass(self, members: Members, first: int) -> AsyncIterator[tuple[Copies, int]]:
        """The copy of the groups from `first` on, and the group where the pass ends. Raises what `range` raises."""
        most = self._memory if self._no_room else max(self._memory, self._scratch.limit)
        last, runs, size = await self._fitting(members, first, most)
        file = await self._file() if size > self._memory and most > self._memory else None
        if file is None and size > self._memory:
            most = self._memory
            last, runs, size = await self._fitting(members, first, most)
        async with Copies(self._log_store, self._offload, file, self._memory) as copies:
            copies.begin(runs, most)
            yield copies, last
            self._no_room = self._no_room or copies.full

    async def _fitting(self, members: Members, first: int, most: int) -> tuple[int, list[Run], int]:
        """The groups from `first` on with about `most` bytes: where they end, what to read for them, and its size."""
        last = members.fitting(first, most * 9 // 10)  # what lies between blobs is read with them
        runs = await self._offload(members.runs, first, last, NEAR, _REQUEST)
        return last, runs, sum(end - begin for _, _, begin, end in runs)

    async def _file(self) -> ScratchFile | None:
        try:
            return await self._offload(self._scratch.open)
        except NoRoom as problem:
            log.warning("%s; publishing without it, which reads segments several times", problem)
            self._no_room = True
            return None

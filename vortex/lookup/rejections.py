"""Rejection lines: what they say, the bytes they hold, and the bytes that lie beside them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterator

import msgspec

from vortex.core.layout import BESIDE, Layout, hour_of
from vortex.core.model import HOUR_MS
from vortex.lookup.objects import blocks
from vortex.lookup.progress import Progress, silent
from vortex.ports import ObjectStore


class Rejection(msgspec.Struct, gc=False):
    """One rejection line. `arrival` is in seconds since the epoch; `where` is its object and line."""

    reason: str
    shard: str
    sequence: str
    sub: int
    arrival: float
    detail: str = ""
    whole: bool = False
    data: str | None = None
    data_base64: str | None = None
    data_beside: str | None = None
    where: str = ""

    @property
    def identity(self) -> tuple[str, str, int]:
        """What names it: its shard, the sequence number of its record, and its place in that."""
        return self.shard, self.sequence, self.sub

    @property
    def bytes(self) -> bytes | None:
        """The original bytes; None if they lie beside it."""
        if self.data is not None:
            return self.data.encode()
        return None if self.data_base64 is None else base64.b64decode(self.data_base64, validate=True)


class _Beside(msgspec.Struct, gc=False):
    shard: str
    sequence: str
    sub: int
    data_base64: str


_line = msgspec.json.Decoder(Rejection).decode
_beside = msgspec.json.Decoder(_Beside).decode


class BrokenRejection(Exception):
    """A line that is no rejection; the message names object and line."""


def rejections_in(body: bytes, key: str) -> Iterator[Rejection]:
    """The rejections of an object, in order. Raises BrokenRejection, CorruptSegment."""
    number = 0
    for text in blocks(body, key):
        for line in text.split(b"\n")[:-1]:
            number += 1
            yield rejection_of(line, f"{key} line {number}")


def rejection_of(line: bytes, where: str) -> Rejection:
    """The rejection of a line. Raises BrokenRejection."""
    try:
        found = _line(line)
        found.where = where
        _ = found.bytes if found.data is None else None
    except (msgspec.MsgspecError, binascii.Error) as problem:
        raise BrokenRejection(f"{where}: is not a rejection: {problem}") from None
    return found


class RejectionStore:
    """The published rejections of a store, hour by hour, without holding more than one object."""

    def __init__(self, store: ObjectStore, layout: Layout, progress: Progress = silent) -> None:
        self._store, self._layout, self._progress = store, layout, progress

    async def between(self, since: int, until: int) -> AsyncIterator[Rejection]:
        """The rejections of the hours from `since` to `until`, in order of time. Raises BrokenRejection."""
        hours = range(hour_of(since), until, HOUR_MS)
        for done, hour in enumerate(hours, 1):
            folder = self._layout.rejected_folder(hour)
            async for info in self._store.list(f"{folder}/"):
                if not info.key.startswith(f"{folder}/{BESIDE}/"):
                    for one in rejections_in(await self._store.get(info.key), info.key):
                        yield one
            self._progress("hours of rejections", done, len(hours))

    async def data_of(self, key: str, wanted: dict[tuple[str, str, int], Rejection]) -> AsyncIterator[Rejection]:
        """The wanted rejections of an object, with the bytes that lie beside them."""
        folder, _, name = key.rpartition("/")
        period = name.partition("-")[0]
        async for info in self._store.list(f"{folder}/{BESIDE}/{period}-"):
            for text in blocks(await self._store.get(info.key), info.key):
                for line in text.split(b"\n")[:-1]:
                    beside = _beside(line)
                    one = wanted.pop((beside.shard, beside.sequence, beside.sub), None)
                    if one is not None:
                        one.data_base64 = beside.data_base64
                        yield one

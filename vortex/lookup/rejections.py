"""Rejection lines: what they say, the bytes they hold, and the bytes that lie beside them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

import msgspec

from vortex.core.layout import BESIDE, Layout, date_and_hour, hour_of
from vortex.core.model import HOUR_MS
from vortex.core.times import EARLIEST_MS, LATEST_MS
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


Wanted = Callable[[Rejection], bool]
_LATER_MS = HOUR_MS
"""A rejection is in the period of its shard's watermark, which is later than its arrival where the records of the shard
are not in order of arrival."""
_HOURS = 24 * 31
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


def _beside_of(line: bytes, key: str) -> _Beside:
    try:
        found = _beside(line)
        base64.b64decode(found.data_base64, validate=True)
    except (msgspec.MsgspecError, binascii.Error) as problem:
        raise BrokenRejection(f"{key}: a line is not the bytes of a rejection: {problem}") from None
    return found


class RejectionStore:
    """The published rejections of a store, hour by hour, without holding more than one object."""

    def __init__(self, store: ObjectStore, layout: Layout, progress: Progress = silent) -> None:
        self._store, self._layout, self._progress = store, layout, progress

    async def between(self, since: int, until: int, wanted: Wanted = lambda _: True) -> AsyncIterator[Rejection]:
        """The wanted rejections that arrived from `since` to `until`, in order of objects. Raises BrokenRejection."""
        async for _, one in self._between(since, until, wanted):
            yield one

    async def with_data(self, since: int, until: int, wanted: Wanted = lambda _: True) -> AsyncGenerator[Rejection]:
        """The same, each with its bytes: those that lie beside follow the others of their object."""
        beside: dict[tuple[str, str, int], Rejection] = {}
        last = ""
        async for key, one in self._between(since, until, wanted):
            if key != last:
                async for joined in self.data_of(last, beside):
                    yield joined
                last, beside = key, {}
            if one.data_beside is None:
                yield one
            else:
                beside[one.identity] = one
        async for joined in self.data_of(last, beside):
            yield joined

    async def _between(self, since: int, until: int, wanted: Wanted) -> AsyncIterator[tuple[str, Rejection]]:
        async for key in self._keys(hour_of(since), until + _LATER_MS):
            for one in rejections_in(await self._store.get(key), key):
                if since <= one.arrival * 1000 < until and wanted(one):
                    yield key, one

    async def _keys(self, first: int, upto: int) -> AsyncIterator[str]:
        """The objects of the hours from `first` to `upto`: by hour, or of a long time by one listing of all."""
        hours = range(first, upto, HOUR_MS)
        if len(hours) <= _HOURS:
            for done, hour in enumerate(hours, 1):
                folder = self._layout.rejected_folder(hour)
                async for info in self._store.list(f"{folder}/"):
                    if not info.key.startswith(f"{folder}/{BESIDE}/"):
                        yield info.key
                self._progress("hours of rejections", done, len(hours))
            return
        template, seen = self._layout.rejected, 0
        folder_of = re.compile(template.format(date=r"(?P<date>\d{4}-\d\d-\d\d)", hour=r"(?P<hour>\d\d)") + "/[^/]+")
        since, until = date_and_hour(max(first, EARLIEST_MS)), date_and_hour(min(upto, LATEST_MS))
        async for info in self._store.list(template.partition("{")[0]):
            found = folder_of.fullmatch(info.key)
            if found and since <= (found["date"], found["hour"]) <= until:
                seen += 1
                self._progress("objects of rejections", seen)
                yield info.key

    async def data_of(self, key: str, wanted: dict[tuple[str, str, int], Rejection]) -> AsyncIterator[Rejection]:
        """The wanted rejections of an object, with the bytes that lie beside them, if they are there.
        Raises BrokenRejection.
        """
        if not wanted:
            return
        folder, _, name = key.rpartition("/")
        period = name.partition("-")[0]
        async for info in self._store.list(f"{folder}/{BESIDE}/{period}-"):
            for text in blocks(await self._store.get(info.key), info.key):
                for line in text.split(b"\n")[:-1]:
                    beside = _beside_of(line, info.key)
                    one = wanted.pop((beside.shard, beside.sequence, beside.sub), None)
                    if one is not None:
                        one.data_base64 = beside.data_base64
                        yield one
        for one in wanted.values():
            yield one

"""Finds the line of an event in published objects, or in a segment, and says why its period is not that of its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np

from vortex.core.decode.events import EventReader
from vortex.core.log.segment import check_blob, decompress, member_offsets
from vortex.core.native.contract import NO_PERIOD
from vortex.core.publish.contents import PublishedObject, bytes_of
from vortex.core.publish.plan import Plan
from vortex.log.store import LogStore
from vortex.lookup.answers import Copy, Fate
from vortex.lookup.identity import Wanted
from vortex.lookup.logs import Row
from vortex.lookup.objects import ObjectCache, as_records, lines_with
from vortex.lookup.recent import RecentlyRead

_OBJECTS = 100_000
"""Rows of done documents that are kept for the next event."""


class Places:
    """The places of lines of one stream."""

    def __init__(self, log_store: LogStore, objects: ObjectCache, reader: EventReader) -> None:
        self._log_store, self._objects, self._reader = log_store, objects, reader
        self._dones = RecentlyRead[int, list[PublishedObject]](_OBJECTS, len)

    async def objects_of(self, k: int) -> list[PublishedObject]:
        """The objects of a plan; none if it is not done."""

        async def read() -> list[PublishedObject]:
            done = await self._log_store.done(k)
            return [] if done is None else done.objects

        return await self._dones.get(k, read)

    async def in_object(self, copy: Copy, wanted: Wanted, taken: set[tuple[str, int]], notes: list[str]) -> None:
        """Fill in object and line of a published copy, and add them to the lines that are `taken` by other copies."""
        assert copy.plan is not None

        def chosen(one: PublishedObject) -> bool:
            return one.period == copy.period and copy.folder in ("", one.folder)

        async for one, number, line in self._lines_of(copy.plan, wanted, chosen):
            if (one.key, number) in taken:
                continue
            taken.add((one.key, number))
            copy.object, copy.line, copy.folder = one.key, number, one.folder
            copy.placed = self._placed(line, one.period)
            return
        notes.append(f"plan {copy.plan} published it, but no object has its line; run `vortex verify`")

    async def in_segment(self, copy: Copy, row: Row) -> None:
        """Fill in why the period of a waiting copy is not that of its time."""
        if row.head is None or row.row is None or row.folder is None:
            return
        footer = row.head.footer
        accepted = np.flatnonzero(~footer.rejections)
        at = int(accepted[int(np.searchsorted(footer.first_rows[accepted], row.row, side="right")) - 1])
        _, period, offset, length, _, raw, digest = footer.member_rows[at].tolist()
        begin = int(member_offsets(footer.member_rows)[0][at])
        where = f"segment {row.n} of {row.shard}"
        text = decompress(
            check_blob(await self._log_store.range(row.shard, row.n, offset, length), digest, where), where
        )
        line = text[begin : begin + raw].split(b"\n")[row.row - int(footer.first_rows[at])]
        copy.placed = self._placed(line, period)

    async def anywhere(self, plan: Plan, wanted: Wanted) -> list[Copy]:
        """The event's lines in all objects of a plan."""
        found: list[Copy] = []
        async for one, number, line in self._lines_of(plan.k, wanted, lambda _: True):
            copy = Copy(Fate.PUBLISHED, one.period, folder=one.folder, plan=plan.k, object=one.key, line=number)
            copy.placed = self._placed(line, one.period)
            found.append(copy)
        return found

    async def _lines_of(
        self, k: int, wanted: Wanted, chosen: Callable[[PublishedObject], bool]
    ) -> AsyncIterator[tuple[PublishedObject, int, bytes]]:
        """The event's lines in the chosen objects of a plan, each with its number in the object, from 1.

        In a bundle only the partition's own lines are read; their numbers count from the begin of the bundle.
        """
        key, following = "", 0
        for one in await self.objects_of(k):
            before = following if one.key == key else 0
            key, following = one.key, before + one.rows
            if one.rejected or one.customer != wanted.customer or not chosen(one):
                continue
            body = bytes_of(one, await self._objects.get(one.key))
            for number, line in lines_with(body, one.key, wanted.key, self._reader):
                yield one, before + number, line

    def _placed(self, line: bytes, period: int) -> str:
        own = self._reader.page(as_records(line + b"\n")).period
        if not len(own) or int(own[0]) == period:
            return ""
        if int(own[0]) == NO_PERIOD:
            return "untimed"
        return "late" if int(own[0]) < period else "early"

"""Reads published objects line by line, in blocks of limited size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vortex.core.decode.events import EventReader
from vortex.core.decode.records import Records
from vortex.core.log.streaming import decompressed
from vortex.core.log.trailer import CorruptSegment
from vortex.lookup.recent import RecentlyRead
from vortex.ports import ObjectStore

_CACHED = 32 << 20


class ObjectCache:
    """Reads objects, and keeps some."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._held = RecentlyRead[str, bytes](_CACHED, len)

    async def get(self, key: str) -> bytes:
        """The object. Raises NotFound."""
        return await self._held.get(key, lambda: self._store.get(key))


def blocks(body: bytes, name: str) -> Iterator[bytes]:
    """The text of an object in blocks that end with a line. A longer line is a block of its own.

    Raises CorruptSegment.
    """
    rest = bytearray()
    for text in decompressed(body, name):
        end = text.rfind(b"\n") + 1
        if not end:
            rest += text
            continue
        yield bytes(rest) + text[:end]
        rest = bytearray(text[end:])
    if rest:
        raise CorruptSegment(f"{name}: its last line has no end")


def lines_with(body: bytes, name: str, key: bytes, reader: EventReader) -> Iterator[tuple[int, bytes]]:
    """The lines of an object with this key, each with its number, from 1. Raises CorruptSegment."""
    before = 1
    for text in blocks(body, name):
        records = as_records(text)
        events = reader.page(records)
        for at in rows_with(events.keys.tobytes(), key):
            record = int(events.record[at])
            yield before + record, records.datas[record]
        before += len(records)


def rows_with(keys: bytes, key: bytes) -> list[int]:
    """The numbers of the rows with this key."""
    words = np.frombuffer(keys, dtype=">u8").reshape(-1, 2)
    high, low = np.frombuffer(key, dtype=">u8").tolist()
    rows: list[int] = np.flatnonzero((words[:, 0] == high) & (words[:, 1] == low)).tolist()
    return rows


def as_records(text: bytes) -> Records:
    """Each line as a record. A JSON text on one line has no other line break."""
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")).astype(np.int64)
    bounds = np.concatenate((np.zeros(1, dtype=np.int64), ends - np.arange(len(ends))))
    count = len(ends)
    return Records(np.zeros(count), b"0\n" * count, text.replace(b"\n", b""), bounds)

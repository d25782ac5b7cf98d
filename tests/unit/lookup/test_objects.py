"""Objects in blocks of lines."""

from __future__ import annotations

import gzip

import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader, event_key
from vortex.core.decode.fields import Fields
from vortex.core.log import streaming
from vortex.core.log.trailer import CorruptSegment
from vortex.lookup.objects import ObjectCache, as_records, blocks, lines_with, rows_with

LINES = [b'{"c":"a","t":"t","id":"%d"}\n' % (n % 50) for n in range(120)]
BODY = gzip.compress(b"".join(LINES[:70])) + gzip.compress(b"".join(LINES[70:]))


@pytest.fixture(params=[10, 1000, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a block."""
    monkeypatch.setattr(streaming, "STEP", request.param)


def test_blocks_end_with_lines_whatever_their_size(block: None) -> None:
    found = list(blocks(BODY, "x"))
    assert b"".join(found) == b"".join(LINES)
    assert all(text.endswith(b"\n") for text in found)


def test_lines_with_finds_each_line_of_a_key_with_its_number(block: None) -> None:
    reader = EventReader(Decoder(Fields(("c",), ("t",), ("id",), ("at",))), 60_000, 5)
    found = list(lines_with(BODY, "x", event_key("a", "7", 5), reader))
    assert found == [(8, LINES[7][:-1]), (58, LINES[7][:-1]), (108, LINES[7][:-1])]


@pytest.mark.parametrize("body", [BODY[:-9], b"x" * 30, gzip.compress(b"{}", mtime=0)])
def test_blocks_refuse_a_damaged_object(body: bytes) -> None:
    with pytest.raises(CorruptSegment):
        list(blocks(body, "x"))


def test_rows_with_compares_all_sixteen_bytes() -> None:
    keys = b"a" * 16 + b"a" * 15 + b"b" + b"a" * 16
    assert rows_with(keys, b"a" * 16) == [0, 2]


def test_as_records_has_a_record_for_each_line() -> None:
    assert as_records(b"a\n\nbc\n").datas == [b"a", b"", b"bc"]


async def test_cache_reads_an_object_once() -> None:
    asked = []

    async def note(operation: str, key: str) -> None:
        asked.append(key)

    store = MemoryStore(VirtualClock(), note)
    store.put_now("k", b"x")
    cache = ObjectCache(store)
    assert [await cache.get("k"), await cache.get("k")] == [b"x", b"x"]
    assert asked == ["k"]

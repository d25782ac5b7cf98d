"""Reading a page in steps, without keeping what is no longer needed."""

from __future__ import annotations

import gc
import gzip
import json
import tracemalloc
import weakref
from itertools import product

import pytest

from tests.native import native
from vortex.core.decode import events as module
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.fields import Fields
from vortex.core.decode.records import Records
from vortex.core.model import Record

FIELDS = Fields(("customer",), ("type",), ("id",), ("at", "also_at"), max_bytes=4_000_000)


def reader() -> EventReader:
    """The reader of a shard that has not been read."""
    return EventReader(Decoder(FIELDS), 300_000, seed=5)


def records(*datas: bytes) -> Records:
    """These, one after another."""
    return Records.of([Record(str(1 + number), 1.7e9, data) for number, data in enumerate(datas)])


def packed(count: int, **members: object) -> bytes:
    """A gzip record of so many events."""
    lines = (json.dumps({"customer": "a", "type": "b", "id": number, **members}) for number in range(count))
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def steps(data: bytes, count: int) -> int:
    """How many steps this record of so many events takes."""
    found = list(reader().slices(records(data)))
    assert sum(len(one.events) for one in found if one is not None) == count
    return len(found)


def test_event_reader_reads_expensive_times_in_steps() -> None:
    assert steps(packed(2000, at="2026-11-29T10:00:00Z" + "[]" * 800), 2000) >= 10


def test_event_reader_reads_events_in_steps_when_the_first_time_is_unreadable() -> None:
    """Each event is then searched for its second time."""
    assert steps(packed(2000, at="soon", **{f"key{number}": 1 for number in range(150)}), 2000) >= 8


def test_event_reader_makes_no_object_of_each_key_when_the_first_time_is_unreadable() -> None:
    """Eight such events in 44 KB took 6.7 seconds of CPU, and 137 MB each."""
    keys = b'"":0,' * 200_000
    data = b'{"customer":"a","type":"b","id":1,"at":"x",' + keys + b'"also_at":1545116709}'
    tracemalloc.start()
    try:
        found = reader().page(records(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.period.tolist() == [1_545_116_700_000]
    assert peak < 4 * len(data)


def test_event_reader_drops_the_names_of_a_record_before_it_reads_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of plain events of the page, which keep their customer and type."""
    monkeypatch.setattr(module, "_MOST_NAMES", 10)
    plain = b'{"customer":"plain","type":"b","id":"1"}'
    some = [b"\n".join(b'{"customer":"%d-%d","type":"b","id":1}' % (n, m) for m in range(1100)) for n in range(3)]
    one = reader()
    names = weakref.ref(one._names)
    found, alive = [], dict[int, bool]()
    for slice_ in one.slices(records(*(gzip.compress(each, mtime=0) for each in some), plain)):
        if slice_ is None:
            continue
        events = slice_.events
        found += [events.names[number][0] for number in events.name.tolist()]
        alive[slice_.upto] = names() is not None
        del slice_, events
    assert alive == {1: True, 2: False, 3: False, 4: False}
    assert found == [f"{n}-{m}" for n in range(3) for m in range(1100)] + ["plain"]


def test_event_reader_does_not_cache_a_long_customer() -> None:
    """A producer can send any number of others."""
    one = reader()
    list(one.slices(records(b'{"customer":"%s","type":"\\u00e4","id":1}' % (b"c" * 60_000))))
    list(one.slices(records(b'{"customer":"short","type":"\\u00e4","id":1}')))
    assert list(one._prefixes) == ["short"]


@pytest.mark.skipif(native is None, reason="without the steps in C nothing is left to answer")
def test_event_reader_takes_few_steps_for_few_times() -> None:
    assert steps(packed(500, at="2026-11-29 10:00:00+01:00"), 500) <= 4


_LARGE = 3 << 20
_BIG = {
    "events": lambda: packed(20_000, x="y" * 160),
    "no events": lambda: gzip.compress(b"{}\n" * (_LARGE // 3), mtime=0),
    "a line": lambda: gzip.compress(b'{"customer":"a","type":"b","id":1,"x":"' + b"y" * _LARGE + b'"}', mtime=0),
    "a broken line": lambda: gzip.compress(b'{"x":"' + b"y" * _LARGE, mtime=0),
    "events, some without a customer": lambda: gzip.compress(
        b'{"customer":"a","type":"b","id":1,"x":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}\n{"id":2}\n' * 40_000,
        mtime=0,
    ),
}


@pytest.mark.parametrize("order", [*product(_BIG, ["a line"]), ("a line", "events"), ("a line", "no events")])
def test_event_reader_holds_no_decompressed_record_when_another_page_may_be_worked_on(order: tuple[str, str]) -> None:
    """One page of several large records, with small ones and plain ones before, between and behind them."""
    plain, small = b'{"customer":"plain","type":"b","id":"1"}', packed(3)
    datas = [plain, small, _BIG[order[0]](), small, _BIG[order[1]](), plain, _BIG[order[0]](), small]
    page, one = records(*datas), reader()
    gc.collect()
    tracemalloc.start()
    try:
        before, held = tracemalloc.get_traced_memory()[0], []
        for part in one.slices(page):
            passes = part is not None and part.last and not part.busy
            del part
            if passes:
                held.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert max(held) < _LARGE / 4


def test_event_reader_lets_other_pages_be_worked_on_between_small_records() -> None:
    """Of which it decodes several together."""
    page = records(*[packed(200)[:-1] + b"x" if number % 2 else packed(200) for number in range(40)])
    found = [part for part in reader().slices(page) if part is not None]
    assert sum(len(part.events) for part in found) == 20 * 200
    assert sum(part.last and not part.busy for part in found) >= 4

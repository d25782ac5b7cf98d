"""How a page is worked through: in steps that nobody notices, and with nothing kept that is not needed any more."""

from __future__ import annotations

import gzip
import json
import weakref

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
    """Of a shard that nobody has read."""
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


def test_times_that_take_long_to_read_are_read_in_steps() -> None:
    assert steps(packed(2000, at="2026-11-29T10:00:00Z" + "[]" * 800), 2000) >= 10


def test_events_that_are_read_for_another_time_are_read_in_steps() -> None:
    """None of the first times can be read, and so each event is looked through for the second one."""
    assert steps(packed(2000, at="soon", **{f"key{number}": 1 for number in range(150)}), 2000) >= 8


def test_names_of_a_record_before_are_gone_when_the_next_one_is_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that a plain event of the page had among them; it has its own customer and type still."""
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


def test_a_long_customer_is_not_remembered() -> None:
    """A producer may send others without number."""
    one = reader()
    list(one.slices(records(b'{"customer":"%s","type":"\\u00e4","id":1}' % (b"c" * 60_000))))
    list(one.slices(records(b'{"customer":"short","type":"\\u00e4","id":1}')))
    assert list(one._prefixes) == ["short"]


@pytest.mark.skipif(native is None, reason="without the steps in C nothing is left to answer")
def test_few_questions_are_answered_at_once() -> None:
    assert steps(packed(500, at="2026-11-29 10:00:00+01:00"), 500) <= 4

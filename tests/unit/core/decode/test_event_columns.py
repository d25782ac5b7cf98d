"""Events by column: some of them, several in one, and two merged by record."""

from __future__ import annotations

import numpy as np

from vortex.core.decode.event_columns import Events, in_one, merged
from vortex.core.decode.interning import Names


def events(names: Names, records: list[int], lines: list[bytes]) -> Events:
    """One event for each line, of these records."""
    size = np.array([len(line) for line in lines], dtype=np.int32)
    return Events(
        b"".join(lines),
        np.cumsum(size, dtype=np.int64) - size,
        size,
        np.array(records, dtype=np.int32),
        names.number([("c", line.decode()) for line in lines]),
        names,
        np.frombuffer(b"".join(line.ljust(16) for line in lines), dtype="V16"),
        np.array(records, dtype=np.int64),
    )


def rows_of(found: Events) -> list[tuple[int, bytes, str, bytes, int]]:
    """Record, line, type, key and period of each."""
    return [
        (record, found.text[start : start + size], found.names[name][1], key.tobytes().strip(), period)
        for record, start, size, name, key, period in zip(
            found.record.tolist(), found.start.tolist(), found.size.tolist(), found.name.tolist(), found.keys,
            found.period.tolist(), strict=True,
        )
    ]  # fmt: skip


def test_merged_orders_events_by_record() -> None:
    names = Names()
    both = merged(events(names, [0, 2, 2], [b"a", b"bb", b"c"]), events(names, [1, 3], [b"d", b"ee"]))
    lines = (b"a", b"d", b"bb", b"c", b"ee")
    assert [one[:2] for one in rows_of(both)] == list(zip((0, 1, 2, 2, 3), lines, strict=True))
    assert all((kind, key, period) == (line.decode(), line, at) for at, line, kind, key, period in rows_of(both))


def test_in_one_keeps_the_order_of_its_parts() -> None:
    names = Names()
    parts = [events(names, [0], [b"a"]), events(names, [1, 1], [b"bb", b"c"])]
    assert rows_of(in_one(parts)) == [one for part in parts for one in rows_of(part)]


def test_rows_selects_events_in_the_same_text() -> None:
    found = events(Names(), [0, 1, 2], [b"a", b"bb", b"c"])
    some = found.rows(np.array([True, False, True]))
    assert some.text is found.text and rows_of(some) == [rows_of(found)[0], rows_of(found)[2]]

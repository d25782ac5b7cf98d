"""Tables of lines: joined by group, in C and in Python."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import without_native
from vortex.core.log.lines import LineTable, PageLines


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=30), max_size=8), max_size=6), st.integers(0, 2**32))
def test_line_table_joins_lines_by_group_in_order_in_c_and_in_python(pages: list[list[bytes]], seed: int) -> None:
    rng = Random(seed)
    tables, wanted = list[PageLines](), dict[int, bytes]()
    for page in pages:
        size = np.array([len(line) for line in page], dtype=np.int32)
        group = np.array([rng.randrange(3) for _ in page], dtype=np.int32)
        start = np.cumsum(size, dtype=np.int64) - size
        tables.append(PageLines(b"".join(page) + b"of others" * rng.randint(0, 9), start, size, group).compact())
        for line, number in zip(page, group.tolist(), strict=True):
            wanted[number] = wanted.get(number, b"") + line + b"\n"
    order = rng.sample(range(3), 3)
    lines = LineTable(tables)
    rows, ends, sizes = lines.in_order(order)
    assert sizes.tolist() == [len(wanted.get(number, b"")) for number in order]
    for native_or_not in (contextlib.nullcontext, without_native):
        with native_or_not():
            texts = [lines.text(rows[begin:end]) for begin, end in pairwise(ends.tolist())]
        assert texts == [wanted.get(number, b"") for number in order]


def test_line_table_maps_several_groups_to_one() -> None:
    """The lines of one group are together, in the order in which they came."""
    lines = LineTable(
        [PageLines.of([b"a"], 2), PageLines.of([b"b", b"c"], 0), PageLines.of([b"d"], 1)], np.array([1, 0, 1], np.int32)
    )
    rows, ends, sizes = lines.in_order([1, 0])
    assert lines.text(rows) == b"a\nb\nc\nd\n"
    assert (ends.tolist(), sizes.tolist()) == ([0, 3, 4], [6, 2])

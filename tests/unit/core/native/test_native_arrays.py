"""The steps in C on arrays: lines put together as in Python, tables that refuse what does not belong together."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import without_native
from tests.unit.core.native.test_native import installed
from vortex.core.log.lines import LineTable, PageLines
from vortex.core.native import native


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=30), max_size=8), max_size=6), st.integers(0, 2**32))
def test_lines_are_put_together_alike(pages: list[list[bytes]], seed: int) -> None:
    """By group, in the order they came in."""
    rng = Random(seed)
    taken, wanted = [], dict[int, bytes]()
    for page in pages:
        size = np.array([len(line) for line in page], dtype=np.int32)
        group = np.array([rng.randrange(3) for _ in page], dtype=np.int32)
        start = np.cumsum(size, dtype=np.int64) - size
        taken.append(PageLines(b"".join(page) + b"of others" * rng.randint(0, 9), start, size, group).compact())
        for line, number in zip(page, group.tolist(), strict=True):
            wanted[number] = wanted.get(number, b"") + line + b"\n"
    order = rng.sample(range(3), 3)
    lines = LineTable(taken)
    rows, ends, sizes = lines.in_order(order)
    assert sizes.tolist() == [len(wanted.get(number, b"")) for number in order]
    for native_or_not in (contextlib.nullcontext, without_native):
        with native_or_not():
            texts = [lines.text(rows[begin:end]) for begin, end in pairwise(ends.tolist())]
        assert texts == [wanted.get(number, b"") for number in order]


def test_groups_may_be_called_otherwise_and_several_be_one() -> None:
    """What is one group lies together, in the order it came in."""
    lines = LineTable(
        [PageLines.of([b"a"], 2), PageLines.of([b"b", b"c"], 0), PageLines.of([b"d"], 1)], np.array([1, 0, 1], np.int32)
    )
    rows, ends, sizes = lines.in_order([1, 0])
    assert lines.text(rows) == b"a\nb\nc\nd\n"
    assert (ends.tolist(), sizes.tolist()) == ([0, 3, 4], [6, 2])


# What does not belong together is refused, not read.


@installed
def test_rows_outside_of_their_pages_are_refused() -> None:
    assert native
    one = np.zeros(1, dtype=np.int64)
    for page, start, size, chosen in (
        (1, 0, 1, 0),
        (-1, 0, 1, 0),
        (0, -1, 1, 0),
        (0, 2, 2, 0),
        (0, 0, -1, 0),
        (0, 0, 1, 1),
    ):
        with pytest.raises(ValueError, match="rows"):
            native.lines([b"abc"], np.full(1, page, np.int32), one + start, np.full(1, size, np.int32), one + chosen)


@installed
def test_a_full_table_is_refused_and_so_are_arrays_of_other_lengths() -> None:
    assert native
    old, young, new = _table(1), _table(16), np.zeros(16, np.bool_)
    keys = Random(1).randbytes(16 * 17)
    assert native.claim(keys[:256], old, young, new) == 16 and new.all()
    with pytest.raises(ValueError, match="full"):
        native.claim(keys[256:], old, young, new[:1])
    for some, one, other, told in (
        (keys[:255], old, young, new[:15]),
        (keys[:256], old, young, new[:15]),
        (keys[:256], old[:0], young, new),
        (keys[:256], old, young[:0], new),
        (keys[:256], old.reshape(-1)[:15], young, new),
    ):
        with pytest.raises(ValueError, match="belong"):
            native.claim(some, one, other, told)
    with pytest.raises((BufferError, TypeError)):
        native.claim(keys[:256], old, b"0" * 16, new)


@installed
def test_a_table_that_is_too_small_takes_no_keys() -> None:
    assert native
    full, keys, new = _table(32), Random(1).randbytes(16 * 32), np.zeros(32, np.bool_)
    native.claim(keys, _table(1), full, new)
    with pytest.raises(ValueError, match="too small"):
        native.refill(full, _table(16))
    to = _table(40)
    assert native.refill(full, to) == 32
    assert native.claim(keys, to, _table(1), new) == 0
    assert not new.any()


def _table(slots: int) -> Any:
    return np.zeros((slots, 16), np.uint8)

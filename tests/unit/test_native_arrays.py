"""The steps in C on arrays: lines put together as in Python, tables that refuse what does not belong together."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import without_native
from tests.unit.test_native import installed
from vortex.core.lines import Lines, Taken
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
        taken.append(Taken(b"".join(page) + b"of others" * rng.randint(0, 9), start, size, group).compact())
        for line, number in zip(page, group.tolist(), strict=True):
            wanted[number] = wanted.get(number, b"") + line + b"\n"
    lines = Lines(taken)
    rows = lines.by_group(3)
    assert [lines.text(some) for some in rows] == [wanted.get(number, b"") for number in range(3)]
    with without_native():
        assert [lines.text(some) for some in rows] == [wanted.get(number, b"") for number in range(3)]


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
    high, low, tag = np.zeros(16, np.uint64), np.zeros(16, np.uint64), np.zeros(16, np.uint32)
    over, live, new = np.zeros(1, np.bool_), np.array([False, True]), np.zeros(17, np.bool_)
    keys = Random(1).randbytes(16 * 17)
    arrays = high, low, tag, over, live, new
    assert native.claim(keys, np.arange(16), *arrays, 1) == 16 and new[:16].all()
    with pytest.raises(ValueError, match="full"):
        native.claim(keys, np.array([16]), *arrays, 1)
    for mine, chosen in ((2, 0), (0, 0), (1, 17), (1, -1)):
        with pytest.raises(ValueError, match="belong"):
            native.claim(keys, np.array([chosen]), *arrays, mine)
    with pytest.raises(ValueError, match="belong"):
        native.claim(keys, np.array([0]), high[:8], low, tag, over, live, new, 1)


@installed
def test_a_table_that_is_too_small_or_in_use_takes_no_keys() -> None:
    assert native
    live = np.array([False, True])

    def table(buckets: int) -> tuple[Any, ...]:
        words = (np.zeros(16 * buckets, np.uint64) for _ in range(2))
        return (*words, np.zeros(16 * buckets, np.uint32), np.zeros(buckets, np.bool_))

    full, keys, new = table(2), Random(1).randbytes(16 * 32), np.zeros(32, np.bool_)
    native.claim(keys, np.arange(32), *full, live, new, 1)
    for to in (table(1), full):
        with pytest.raises(ValueError, match="too small"):
            native.rehash(*full[:3], live, *to)
    to = table(2)
    assert native.rehash(*full[:3], live, *to) == 32
    native.claim(keys, np.arange(32), *to, live, new, 1)
    assert not new.any()

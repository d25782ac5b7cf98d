"""Published keys in ranges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.dedup.keys import KEY, Keys, bounds_of
from vortex.core.dedup.rows import part_of


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.sampled_from([1, 2, 8, 64]))
def test_bounds_of_splits_sorted_keys_into_ranges_by_their_top_bits(words: list[int], parts: int) -> None:
    """The ranges together hold every key."""
    high = np.array(sorted(words), dtype=np.uint64)
    at = 0
    for part in range(parts):
        begin, end = bounds_of(high, part, parts)
        assert begin == at
        assert (part_of(high[begin:end], parts) == part).all()
        at = end
    assert at == len(words)
    none = np.empty(0, dtype=np.int64)
    keys = Keys(high, high, np.zeros(len(high), dtype=np.uint32), none, none)
    assert [word for part in range(parts) for word in keys.within(part, parts).high.tolist()] == high.tolist()


def test_among_keeps_the_keys_that_are_among_the_given_ones() -> None:
    """By both words; the runs stay as they were."""
    high, low = np.array([1, 1, 2], dtype=np.uint64), np.array([5, 6, 5], dtype=np.uint64)
    times = np.array([10, 20], dtype=np.int64)
    keys = Keys(high, low, np.array([0, 1, 0], dtype=np.uint32), times, times)
    found = keys.among(np.array([1, 2, 3], dtype=np.uint64), np.array([6, 6, 5], dtype=np.uint64))
    assert (found.high.tolist(), found.low.tolist(), found.run.tolist()) == ([1], [6], [1])
    assert found.lo is keys.lo


def test_fill_copies_keys_of_a_file_piece_by_piece_and_copy_keeps_them() -> None:
    packed = np.array([(3 * at, at % 7, at % 5) for at in range(50_000)], dtype=KEY)
    times = np.array([10, 20], dtype=np.int64)
    keys = Keys.room(len(packed), times, times)
    for begin in range(0, len(packed), 30_000):
        piece = packed[begin : begin + 30_000]
        keys.between(begin, begin + len(piece)).fill(piece)
    for same in (keys, keys.copy()):
        assert same.high.tolist() == packed["high"].tolist()
        assert same.low.tolist() == packed["low"].tolist()
        assert same.run.tolist() == packed["run"].tolist()
    assert keys.nbytes == 20 * len(packed) + 32

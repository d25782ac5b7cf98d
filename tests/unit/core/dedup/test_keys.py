"""Published keys in ranges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.dedup.keys import Keys, bounds_of, joined
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
    back = joined([keys.within(part, parts) for part in range(parts)])
    assert back.high.tolist() == high.tolist()

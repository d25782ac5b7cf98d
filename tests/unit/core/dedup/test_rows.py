"""Rows of a plan by column."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.random_rows import pool_of, rows_of, runs_of
from vortex.core.dedup.rows import part_of


@given(st.integers(0, 2**32))
def test_by_key_sorts_rows_by_key_and_keeps_the_order_of_equal_keys(seed: int) -> None:
    rng = Random(seed)
    rows = rows_of(rng, runs_of(rng, 5), 60, pool_of(rng, 20))
    columns = [column.tolist() for column in (rows.high, rows.low, rows.run, rows.row)]
    ordered = rows.by_key()
    found = [column.tolist() for column in (ordered.high, ordered.low, ordered.run, ordered.row)]
    assert list(zip(*found, strict=True)) == sorted(zip(*columns, strict=True), key=lambda row: row[:2])
    assert len(ordered.between(10, 25)) == 15


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.sampled_from([1, 2, 8, 64]))
def test_part_of_returns_the_equal_range_of_each_key(words: list[int], parts: int) -> None:
    found = part_of(np.array(words, dtype=np.uint64), parts)
    assert found.tolist() == [word * parts >> 64 for word in words]

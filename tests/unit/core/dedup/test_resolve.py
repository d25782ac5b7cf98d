"""Deciding on rows, against a loop over all rows."""

from __future__ import annotations

from time import process_time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.core.dedup.keys import Keys
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import RUN, Rows

Key = tuple[int, int]
Came = tuple[int, int]
ARRIVALS = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda came: (came[0], came[0] + came[1]))
KEYS = st.tuples(st.integers(0, 2), st.integers(0, 2))


def rows_of(keys: list[Key], run: list[int]) -> Rows:
    high, low = (np.array([key[word] for key in keys], dtype=np.uint64) for word in (0, 1))
    return Rows(high, low, np.array(run, dtype=np.uint32), np.arange(len(keys), dtype=np.uint32))


def table_of(came: list[Came]) -> np.ndarray:
    table = np.zeros(len(came), dtype=RUN)
    table["lo"], table["hi"] = [lo for lo, _ in came], [hi for _, hi in came]
    return table


def published_of(rows: list[tuple[Key, Came]]) -> Keys:
    rows = sorted(rows)
    keys = rows_of([key for key, _ in rows], [0] * len(rows))
    lo, hi = (np.array([came[at] for _, came in rows], dtype=np.int64) for at in (0, 1))
    return Keys(keys.high, keys.low, np.arange(len(rows), dtype=np.uint32), lo, hi)


def dropped_by_loop(keys: list[Key], came: list[Came], known: list[list[tuple[Key, Came]]], window: int) -> list[bool]:
    """The promise, word for word: a row is published unless a published row with its key is near."""
    published = [row for several in known for row in several]
    dropped = []
    for key, (lo, hi) in zip(keys, came, strict=True):
        near = any(one == key and lo - b <= window and a - hi <= window for one, (a, b) in published)
        dropped.append(near)
        if not near:
            published.append((key, (lo, hi)))
    return dropped


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(KEYS, ARRIVALS), max_size=25),
    st.lists(st.lists(st.tuples(KEYS, ARRIVALS), max_size=5), max_size=3),
    st.integers(0, 12),
    st.integers(1, 3),
)
def test_resolve_drops_the_rows_that_a_loop_over_all_rows_drops(
    rows: list[tuple[Key, Came]], known: list[list[tuple[Key, Came]]], window: int, of_a_run: int
) -> None:
    keys, came = [key for key, _ in rows], [came for _, came in rows][::of_a_run]
    run = [at // of_a_run for at in range(len(keys))]
    columns = rows_of(keys, run).by_key()
    dropped = resolve(columns, table_of(came), [published_of(several) for several in known], window)
    assert [out for _, out in sorted(zip(columns.row.tolist(), dropped.tolist(), strict=True))] == dropped_by_loop(
        keys, [came[each] for each in run], known, window
    )


def test_resolve_of_one_id_in_many_runs_takes_no_quadratic_time() -> None:
    """A constant id by mistake, and a window that is short beside the plan: each row is published, none is near."""
    came = [(3 * at, 3 * at) for at in range(40_000)]
    columns = rows_of([(1, 1)] * len(came), list(range(len(came))))
    begun = process_time()
    assert not resolve(columns, table_of(came), [], 2).any()
    assert process_time() - begun < 5


# Published keys.

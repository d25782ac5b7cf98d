"""The rows of a plan, in the order of decisions: (period, shard, n, row)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.index import in_order
from vortex.core.log.rules import SegmentHeader
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.plan import LogView, Plan

RUN = np.dtype(
    [
        ("shard", "<u4"),
        ("n", "<u8"),
        ("period", "<i8"),
        ("lo", "<i8"),
        ("hi", "<i8"),
        ("rows", "<u4"),
        ("dropped", "<u4"),
    ]
)
"""The rows of one period in one segment. `shard` is the index in the plan's shards; they arrived in [lo, hi].

`rows` and `dropped`: the number of rows (in a file: of its part of the keys), and how many of them are dropped.
"""
Words = NDArray[np.uint64]
RunTable = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class PlanRuns:
    """The runs of a plan in order; run i has the rows from `first[i]` of segment `headers[i]`."""

    shards: list[str]
    table: RunTable
    headers: list[SegmentHeader]
    first: list[int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as columns: the key as two words, the run's number, and the row's number within its segment."""

    high: Words
    low: Words
    run: NDArray[np.uint32]
    row: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.high)

    def by_key(self) -> Rows:
        """The same rows sorted by key; rows with equal keys keep their order.

        Only this step reads rows in random order; later steps read them sequentially.
        """
        return sorted_by_key([self.high, self.low, self.run, self.row])

    def between(self, begin: int, end: int) -> Rows:
        """The rows from `begin` to `end`."""
        part = slice(begin, end)
        return Rows(self.high[part], self.low[part], self.run[part], self.row[part])


def plan_runs(plan: Plan, views: Mapping[str, LogView]) -> PlanRuns:
    """The plan's runs; `views` has all its segments."""
    shards = sorted(plan.shards)
    found = [
        (period, at, head.n, rows, first, head)
        for at, shard in enumerate(shards)
        if shard in views
        for head in views[shard].between(plan.shards[shard].first, plan.shards[shard].to)
        for period, first, rows in _of_segment(head, plan)
    ]
    found.sort(key=lambda one: one[:3])
    table = np.zeros(len(found), dtype=RUN)
    for at, (period, shard, n, rows, _, head) in enumerate(found):
        table[at] = (shard, n, period, *head.footer.arrived, rows, 0)
    return PlanRuns(shards, table, [one[5] for one in found], [one[4] for one in found])


def _of_segment(head: SegmentHeader, plan: Plan) -> Iterator[tuple[int, int, int]]:
    """For each of the plan's periods with rows in the segment: the period, its first row, and the number of rows."""
    for one in head.sizes:
        if one.rows and plan.after <= one.period < plan.upto:
            yield one.period, one.first, one.rows


def rows_of(runs: PlanRuns, blocks: Mapping[tuple[str, int], bytes], part: int, parts: int) -> Rows:
    """The rows in range `part` of `parts` equal key ranges, in order; `blocks` has the ids of each segment."""
    most, upto = int(runs.table["rows"].sum()), 0
    found = Rows(
        np.empty(most, dtype=np.uint64),
        np.empty(most, dtype=np.uint64),
        np.empty(most, dtype=np.uint32),
        np.empty(most, dtype=np.uint32),
    )
    for at, (words, row) in enumerate(words_of(runs, blocks)):
        if parts > 1:
            mine = np.flatnonzero(part_of(words[:, 0].astype(np.uint64), parts) == part)
            words, row = words[mine], row[mine]
        its = found.between(upto, upto + len(row))
        its.high[:], its.low[:], its.run[:], its.row[:] = words[:, 0], words[:, 1], at, row
        upto += len(row)
    return found.between(0, upto)


def words_of(
    runs: PlanRuns, blocks: Mapping[tuple[str, int], bytes]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint32]]]:
    """For each run the keys of its rows, as two words each, and the numbers of the rows."""
    for head, first, count in zip(runs.headers, runs.first, runs.table["rows"].tolist(), strict=True):
        words = np.frombuffer(blocks[head.shard, head.n], dtype=">u8", count=2 * count, offset=KEY_BYTES * first)
        yield words.reshape(-1, 2), np.arange(first, first + count, dtype=np.uint32)


def sorted_by_key(columns: list[NDArray[Any]]) -> Rows:
    """The rows with these columns, sorted by key. An item is replaced when its column is sorted: without another
    reference to them, only one column is in memory twice.
    """
    order = in_order(columns[0], columns[1])
    for at in range(len(columns)):
        columns[at] = columns[at].take(order)
    return Rows(*columns)


def part_of(high: Words, parts: int) -> Words:
    """The range of each key among `parts` (a power of two) equal key ranges, by its high word."""
    bits = parts.bit_length() - 1
    return high >> np.uint64(64 - bits) if bits else np.zeros_like(high)

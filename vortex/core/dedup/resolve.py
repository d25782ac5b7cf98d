"""Decides which rows of a plan are published and which are dropped. Pure and CPU-heavy: run it in a worker thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.index import find
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.rows import Rows, RunTable, Words

Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


def resolve(rows: Rows, runs: RunTable, known: Sequence[Keys], window: int) -> Bools:
    """Which rows are dropped, given the keys `known` that the plans from `since` published.

    The rows are sorted by key (`Rows.by_key`). `known` may omit keys that no row has. Most keys occur once; these are
    found for all rows together, and so are groups of rows that are all near each other. The remaining groups are
    decided row by row.
    """
    dropped = np.zeros(len(rows), dtype=np.bool_)
    if not len(rows):
        return dropped
    high, low = rows.high, rows.low
    same = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    begins = np.flatnonzero(np.concatenate(([True], ~same)))
    if len(begins) < len(rows):  # else both are as large as all that is here
        high, low = high[begins], low[begins]
    matches = [_Matches.of(keys, high, low) for keys in known]
    del high, low
    repeated = ~np.concatenate((~same, [True]))[begins]
    for some in matches:
        repeated[some.group] = True
    groups = np.flatnonzero(repeated)
    matches = [_Matches(some.keys, np.searchsorted(groups, some.group), some.place) for some in matches]
    ends = begins[np.minimum(groups + 1, len(begins) - 1)]
    ends[groups + 1 == len(begins)] = len(rows)
    members = _Members(begins[groups], ends - begins[groups])
    for group in _all_near(members, rows, runs, matches, window, dropped).tolist():
        published = [arrived for some in matches for arrived in some.arrived(group)]
        _walk(members.of(group), rows, runs, published, window, dropped)
    return dropped


@dataclass(frozen=True, slots=True)
class _Matches:
    """The groups of rows whose key an earlier plan published, in order, and the index of that key in its `keys`."""

    keys: Keys
    group: Index
    place: Index

    @classmethod
    def of(cls, keys: Keys, high: Words, low: Words) -> _Matches:
        """The groups' keys are sorted and distinct. Looks up the smaller set in the larger one."""
        if len(keys) > len(high):
            place = find(keys.high, keys.low, high, low)
            group = np.flatnonzero(place >= 0)
            return cls(keys, group, place[group])
        group = find(high, low, keys.high, keys.low)
        place = np.flatnonzero(group >= 0)
        group, first = np.unique(group[place], return_index=True)
        return cls(keys, group, place[first])

    def arrived(self, group: int) -> list[tuple[int, int]]:
        """When the rows with a group's key that the plan published arrived."""
        at = int(np.searchsorted(self.group, group))
        if at == len(self.group) or self.group[at] != group:
            return []
        keys, place = self.keys, int(self.place[at])
        key, found = (keys.high[place], keys.low[place]), []
        while place < len(keys) and (keys.high[place], keys.low[place]) == key:
            run = keys.run[place]
            found.append((int(keys.lo[run]), int(keys.hi[run])))
            place += 1
        return found


@dataclass(frozen=True, slots=True)
class _Members:
    """Groups of rows with equal keys: group i has the rows from `begin[i]` to `begin[i] + size[i]`."""

    begin: Index
    size: Index

    def of(self, group: int) -> Index:
        """The rows of one group."""
        return np.arange(self.begin[group], self.begin[group] + self.size[group])

    def all(self) -> tuple[Index, Index]:
        """The rows of all groups, concatenated, and where each group begins."""
        first = np.cumsum(self.size) - self.size
        return np.repeat(self.begin - first, self.size) + np.arange(self.size.sum()), first


def _all_near(
    members: _Members, rows: Rows, runs: RunTable, matches: Sequence[_Matches], window: int, dropped: Bools
) -> Index:
    """Decide the groups in which all rows are near each other, as nearly always. Returns the other groups.

    Such a group publishes its first row, or nothing if an earlier plan published its key.
    """
    if not len(members.size):
        return members.begin
    which, first = members.all()
    run = rows.run[which]
    greatest_lo, least_hi = np.maximum.reduceat(runs["lo"][run], first), np.minimum.reduceat(runs["hi"][run], first)
    before = np.zeros(len(members.size), dtype=np.bool_)
    several = before.copy()
    for some in matches:
        keys, groups, at = some.keys, some.group, some.place
        if not len(groups):
            continue
        next_ = np.minimum(at + 1, len(keys) - 1)
        several[groups] |= (next_ > at) & (keys.high[next_] == keys.high[at]) & (keys.low[next_] == keys.low[at])
        run_ = keys.run[at]
        greatest_lo[groups] = np.maximum(greatest_lo[groups], keys.lo[run_])
        least_hi[groups] = np.minimum(least_hi[groups], keys.hi[run_])
        before[groups] = True
    near = (greatest_lo - least_hi <= window) & ~several
    dropped[which[np.repeat(near, members.size)]] = True
    dropped[which[first[near & ~before]]] = False
    return np.flatnonzero(~near)


class _Arrivals:
    """When the published rows of one key arrived: intervals that do not overlap, in order.

    A row is near one of several overlapping intervals exactly if it is near all of them in one. So they are one here.
    """

    def __init__(self, intervals: Iterable[tuple[int, int]]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for lo, hi in sorted(intervals):
            if self._ends and lo <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], hi)
            else:
                self._begins.append(lo)
                self._ends.append(hi)

    def near(self, lo: int, hi: int, window: int) -> bool:
        """Whether [lo, hi] is near one of them."""
        at = bisect_left(self._ends, lo - window)
        return at < len(self._ends) and self._begins[at] <= hi + window

    def add(self, lo: int, hi: int) -> None:
        """Add an interval that is near none of them."""
        at = bisect_left(self._begins, lo)
        self._begins.insert(at, lo)
        self._ends.insert(at, hi)


def _walk(
    members: Index, rows: Rows, runs: RunTable, published: Iterable[tuple[int, int]], window: int, dropped: Bools
) -> None:
    """Decide the rows of one key in order: a row is dropped if it is near a published one.

    The rows of one run arrived in one interval. So its first row decides for all of them.
    """
    arrivals, run = _Arrivals(published), rows.run[members]
    first = np.concatenate(([True], run[1:] != run[:-1]))
    dropped[members] = True
    its = runs[run[first]]
    for row, lo, hi in zip(members[first].tolist(), its["lo"].tolist(), its["hi"].tolist(), strict=True):
        if not arrivals.near(lo, hi, window):
            dropped[row] = False
            arrivals.add(lo, hi)

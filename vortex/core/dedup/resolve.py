"""The walk: which rows of a plan are published, and which are dropped. Pure, and heavy: meant for a worker thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.keys import Keys
from vortex.core.dedup.rows import Rows, RunTable

Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


def resolve(rows: Rows, runs: RunTable, known: Sequence[Keys], window: int) -> tuple[Bools, Index]:
    """Which rows are dropped, given what the plans since `since` published; and the order of the rows by key.

    Few rows have a key that is there twice. Those that may have are told from the others for all at once; they alone
    are walked through one by one.
    """
    order = np.lexsort((rows.low, rows.high))
    high, low = rows.high[order], rows.low[order]
    dropped = np.zeros(len(order), dtype=np.bool_)
    if not len(order):
        return dropped, order
    begins = np.flatnonzero(np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1]))))
    firsts = high[begins]
    places = [np.searchsorted(keys.high, firsts) for keys in known]
    odd = np.diff(begins, append=len(order)) > 1
    for keys, place in zip(known, places, strict=True):
        if len(keys):
            odd |= keys.high[np.minimum(place, len(keys) - 1)] == firsts
    lo, hi = runs["lo"].tolist(), runs["hi"].tolist()
    ends = np.append(begins[1:], len(order))
    for group in np.flatnonzero(odd).tolist():
        key = int(high[begins[group]]), int(low[begins[group]])
        published = [
            came for keys, place in zip(known, places, strict=True) for came in _came(keys, int(place[group]), key)
        ]
        members = order[begins[group] : ends[group]]
        for row, run in zip(members.tolist(), rows.run[members].tolist(), strict=True):
            came = (lo[run], hi[run])
            if any(came[0] - b <= window and a - came[1] <= window for a, b in published):
                dropped[row] = True
            else:
                published.append(came)
    return dropped, order


def _came(keys: Keys, place: int, key: tuple[int, int]) -> list[tuple[int, int]]:
    """When the rows came that a plan published of a key; those of its first word begin at `place`."""
    found = []
    while place < len(keys) and int(keys.high[place]) == key[0]:
        if int(keys.low[place]) == key[1]:
            run = int(keys.run[place])
            found.append((int(keys.lo[run]), int(keys.hi[run])))
        place += 1
    return found

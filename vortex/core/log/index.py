"""The sizes of a segment's periods: what a planner needs of its index, which may have a hundred thousand members."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vortex.core.log.segment import Footer, member_offsets

HEAVY = np.dtype([("period", "<i8"), ("folder", "<u8"), ("size", "<i8")])
"""A large part of a segment: period, hash of the folder, and compressed bytes."""
_HEAVY_PART = 16
"""A folder is a large part of a period if it has at least this part of its bytes in the segment."""


class PeriodSize(NamedTuple):
    """The part of one period in a segment: compressed bytes, lines, and among them rows; and its first row's number.

    Rejections are lines, not rows.
    """

    period: int
    size: int
    lines: int
    rows: int
    first: int


def heavy_of(footer: Footer) -> NDArray[np.void]:
    """The folders that have a sixteenth or more of the bytes of a period in this segment: rows of HEAVY."""
    members = footer.member_rows
    if not len(members):
        return np.empty(0, dtype=HEAVY)
    raw = members["raw"].astype(np.int64)
    _, whole = member_offsets(members)
    length = members["length"].astype(np.int64) * raw // np.maximum(whole, 1)
    begins = np.flatnonzero(np.diff(members["period"], prepend=members["period"][0] - 1))
    totals = np.repeat(np.add.reduceat(length, begins), np.diff(begins, append=len(members)))
    large = np.flatnonzero((length * _HEAVY_PART >= totals) & (length > 0))
    found = np.empty(len(large), dtype=HEAVY)
    hashes = [footer.folders[at].hash for at in members["folder"][large].tolist()]
    found["period"], found["folder"], found["size"] = members["period"][large], hashes, length[large]
    return found


def sizes_of(footer: Footer) -> tuple[PeriodSize, ...]:
    """The sizes of a segment's periods, in order."""
    members = footer.member_rows
    if not len(members):
        return ()
    begins = np.flatnonzero(np.diff(members["period"], prepend=members["period"][0] - 1))
    blobs = np.concatenate(([True], members["offset"][1:] != members["offset"][:-1]))  # each has one period
    lines = members["rows"].astype(np.int64)
    sizes = np.add.reduceat(np.where(blobs, members["length"].astype(np.int64), 0), begins)
    rows = np.add.reduceat(np.where(footer.rejections, 0, lines), begins)
    first = np.cumsum(rows) - rows
    columns = (members["period"][begins], sizes, np.add.reduceat(lines, begins), rows, first)
    return tuple(PeriodSize(*some) for some in zip(*(column.tolist() for column in columns), strict=True))

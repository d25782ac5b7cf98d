"""The sizes of a segment's periods: what a planner needs of its index, which may have a hundred thousand members."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vortex.core.log.segment import Footer


class PeriodSize(NamedTuple):
    """The part of one period in a segment: compressed bytes, lines, and among them rows; and its first row's number.

    Rejections are lines, not rows.
    """

    period: int
    size: int
    lines: int
    rows: int
    first: int


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

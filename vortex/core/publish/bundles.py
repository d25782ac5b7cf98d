"""Bundles: objects with the lines of many small partitions of a period, so that requests grow with bytes, not names.

A partition's lines are one gzip member or Zstandard frame of the bundle: these bytes by themselves are a complete file.
Which partition is in which bundle is a function of the plan and the logs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BUNDLE_BYTES = 16 * 1024 * 1024
"""Compressed bytes at which a bundle ends, unless objects end earlier. A bundle is in memory as a whole."""
BUNDLE_MEMBERS = 20_000
"""Members of segments in a bundle at most, about: what is known of each is in memory, too."""


def bundle_numbers(
    periods: NDArray[np.int64],
    sizes: NDArray[np.int64],
    pieces: NDArray[np.int64],
    own: NDArray[np.bool_],
    target: int,
) -> NDArray[np.int64]:
    """The number of each partition's bundle within its period, from 0; -1 for a partition with objects of its `own`.

    Partitions are in order of their periods; `sizes` are compressed bytes, `pieces` numbers of members. Rows that are
    dropped count, so a bundle does not depend on the decisions.
    """
    most = min(target, BUNDLE_BYTES)
    weights = np.where(own, 0, sizes + pieces * (most // BUNDLE_MEMBERS + 1))
    before = np.cumsum(weights) - weights
    first = np.searchsorted(periods, periods)
    return np.where(own, -1, (before - before[first]) // max(1, most))


def units(periods: NDArray[np.int64], bundles: NDArray[np.int64]) -> NDArray[np.int64]:
    """The partitions where a bundle begins, or one that is in none; and the number of partitions."""
    starts = np.ones(len(bundles), dtype=bool)
    starts[1:] = (bundles[1:] < 0) | (bundles[1:] != bundles[:-1]) | (periods[1:] != periods[:-1])
    return np.append(np.flatnonzero(starts), len(bundles))

"""Published keys, sorted, for comparison with later plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.index import apart, find
from vortex.core.dedup.rows import Words

KEY = np.dtype([("high", ">u8"), ("low", ">u8"), ("run", "<u4")])
"""A published key as stored in a file: sorted by its bytes, then by run."""
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that one plan published in a key range. `run` is the run number; a run arrived in [lo, hi]."""

    high: Words
    low: Words
    run: NDArray[np.uint32]
    lo: Times
    hi: Times

    def __len__(self) -> int:
        return len(self.high)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.high.nbytes + self.low.nbytes + self.run.nbytes + self.lo.nbytes + self.hi.nbytes

    @classmethod
    def of(cls, block: bytes, lo: Times, hi: Times) -> Keys:
        """The keys in a block of a file."""
        keys = np.frombuffer(block, dtype=KEY)
        return cls(keys["high"].astype(np.uint64), keys["low"].astype(np.uint64), keys["run"].copy(), lo, hi)

    def apart(self) -> Keys:
        """The same keys in memory of their own, to be held for long."""
        return Keys(apart(self.high), apart(self.low), apart(self.run), self.lo, self.hi)

    def among(self, high: Words, low: Words) -> Keys:
        """The keys that are also in some sorted keys."""
        which = find(high, low, self.high, self.low) >= 0
        return Keys(self.high[which], self.low[which], self.run[which], self.lo, self.hi)

    def within(self, part: int, parts: int) -> Keys:
        """The keys in range `part` of `parts` equal key ranges."""
        begin, end = bounds_of(self.high, part, parts)
        return Keys(self.high[begin:end], self.low[begin:end], self.run[begin:end], self.lo, self.hi)


def bounds_of(high: Words, part: int, parts: int) -> tuple[int, int]:
    """Begin and end index of the sorted keys in range `part` of `parts` equal key ranges."""
    step = 2**64 // parts
    begin = int(np.searchsorted(high, np.uint64(part * step)))
    end = int(np.searchsorted(high, np.uint64((part + 1) * step))) if part + 1 < parts else len(high)
    return begin, end


def joined(several: Sequence[Keys]) -> Keys:
    """Concatenate ranges of one plan, in order; they share their runs."""
    if len(several) == 1:
        return several[0]
    high = np.concatenate([one.high for one in several])
    low = np.concatenate([one.low for one in several])
    return Keys(high, low, np.concatenate([one.run for one in several]), several[0].lo, several[0].hi)

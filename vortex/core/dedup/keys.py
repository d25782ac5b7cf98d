"""Published keys, sorted, for comparison with later plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.index import apart, find, room
from vortex.core.dedup.rows import Words

KEY = np.dtype([("high", ">u8"), ("low", ">u8"), ("run", "<u4")])
"""A published key as stored in a file: sorted by its bytes, then by run."""
Times = NDArray[np.int64]
Packed = NDArray[np.void]
"""Keys as `KEY`."""


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
    def room(cls, count: int, lo: Times, hi: Times) -> Keys:
        """Room for keys, in memory of their own that may be held for long (`index.room`); `fill` fills it."""
        words = np.dtype(np.uint64)
        return cls(room(count, words), room(count, words), room(count, np.dtype(np.uint32)), lo, hi)

    def fill(self, packed: Packed) -> None:
        """Copy keys as stored in a file to the room for as many."""
        self.high[:], self.low[:], self.run[:] = packed["high"], packed["low"], packed["run"]

    def copy(self) -> Keys:
        """The same keys in memory of their own, to be held for long without what surrounds them here."""
        return Keys(apart(self.high), apart(self.low), apart(self.run), self.lo, self.hi)

    def between(self, begin: int, end: int) -> Keys:
        """The keys from `begin` to `end`, without copying them."""
        return Keys(self.high[begin:end], self.low[begin:end], self.run[begin:end], self.lo, self.hi)

    def among(self, high: Words, low: Words) -> Keys:
        """The keys that are also in some sorted keys."""
        which = find(high, low, self.high, self.low) >= 0
        return Keys(self.high[which], self.low[which], self.run[which], self.lo, self.hi)

    def within(self, part: int, parts: int) -> Keys:
        """The keys in range `part` of `parts` equal key ranges."""
        return self.between(*bounds_of(self.high, part, parts))


def bounds_of(high: Words, part: int, parts: int) -> tuple[int, int]:
    """Begin and end index of the sorted keys in range `part` of `parts` equal key ranges."""
    step = 2**64 // parts
    begin = int(np.searchsorted(high, np.uint64(part * step)))
    end = int(np.searchsorted(high, np.uint64((part + 1) * step))) if part + 1 < parts else len(high)
    return begin, end

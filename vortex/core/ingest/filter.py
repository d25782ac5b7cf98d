"""The filter at ingest: the recently accepted keys of a shard, so that a retry on the same shard is dropped at once.

It only saves work: duplicates are decided for all shards together (`core.dedup`). So it may forget keys at any time.
But it must not know a key that is in no log: it starts empty at every resume, and is discarded with the rest of a
shard's state. A shard's watermark never goes back, so all known keys were accepted earlier.

Keys are in two generations. The older one is dropped as a whole, before any of its keys is older than the horizon, or
when the younger one is full: memory does not grow with the rate of a shard.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.contract import KEY_BYTES

HORIZON_MS = 600_000
"""Maximum age of a known key, in stream time; at most the window. Retries of a producer take seconds."""
MOST_KEYS = 32_768
"""Keys of a generation, or those of one call if they are more: 33 seconds of a shard with 1,000 events a second."""

Bools = NDArray[np.bool_]


class _Generation:
    """The keys accepted since one moment."""

    def __init__(self, since: int, expected: int = 0) -> None:
        self.since = since
        self.table = steps.key_table(expected)


class Filter:
    """The keys that a shard accepted within `horizon_ms` of its watermark: at least those of half of that, or the last
    MOST_KEYS.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._young, self._old = _Generation(0), _Generation(0)

    def __len__(self) -> int:
        return self._young.table.held + self._old.table.held

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._young.table.nbytes + self._old.table.nbytes

    def claim(self, keys: bytes, first: int, last: int) -> Bools:
        """Add `keys` (16 bytes each). Returns for each whether it was new; of equal keys only the first is.

        `first` and `last`: the watermark at the first key and at the last one.
        """
        if last - first >= self._horizon_ms:  # also without a horizon: everything is new, nothing is kept
            self._young, self._old = _Generation(last), _Generation(last)
            return np.ones(len(keys) // KEY_BYTES, dtype=np.bool_)
        self._turn(first, last, len(keys) // KEY_BYTES)
        return self._young.table.claim(keys, self._old.table)

    def _turn(self, first: int, last: int, more: int) -> None:
        """Drop the generation that is too old at the last key; start a new one if this one spans too much time, or has
        no room for so many more keys.
        """
        held = self._young.table.held
        if last - self._young.since > self._horizon_ms:
            self._young = _Generation(first)
            self._old = _Generation(first)
        elif last - self._young.since > self._horizon_ms // 2 or (held and held + more > MOST_KEYS):
            self._old, self._young = self._young, _Generation(first, held)
        elif last - self._old.since > self._horizon_ms:
            self._old = _Generation(first)

"""The filter at ingest: the keys that a shard accepted lately, so that a retry on the same shard is dropped at once.

It only saves work; what is a duplicate is decided where all shards meet (`core.dedup`). So it may forget anything at
any time. What it must not do is know a key that is in no log: it begins empty at every resume, and is thrown away with
the rest of a shard's state. A shard's watermark never goes back, so all it knows was accepted before.

Keys lie in two generations. The older one is dropped whole, before any of its keys is older than the horizon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.contract import KEY_BYTES

HORIZON_MS = 600_000
"""How long a key is known at most, in stream time, and no longer than the window. A producer's retries take seconds."""

Bools = NDArray[np.bool_]


class _Generation:
    """Keys since one moment."""

    def __init__(self, since: int, expected: int = 0) -> None:
        self.since = since
        self.table = steps.key_table(expected)


class Filter:
    """Which keys a shard accepted within `horizon_ms` of its watermark, or within half of that at least."""

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
        """Enter `keys` (16 bytes each); for each, whether it was new. Of equal keys the first is.

        `first` and `last`: the watermark at the first of them, and at the last.
        """
        if last - first >= self._horizon_ms:  # and where there is no horizon: everything is new, nothing is kept
            self._young, self._old = _Generation(last), _Generation(last)
            return np.ones(len(keys) // KEY_BYTES, dtype=np.bool_)
        self._turn(first, last)
        return self._young.table.claim(keys, self._old.table)

    def _turn(self, first: int, last: int) -> None:
        """Drop what is too old for the last of the keys to come; begin a generation where this one spans too much."""
        if last - self._young.since > self._horizon_ms:
            self._young = _Generation(first)
            self._old = _Generation(first)
        elif last - self._young.since > self._horizon_ms // 2:
            self._old, self._young = self._young, _Generation(first, self._young.table.held)
        elif last - self._old.since > self._horizon_ms:
            self._old = _Generation(first)

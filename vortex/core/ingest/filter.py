"""The filter at ingest: the keys that a shard accepted lately, so that a retry on the same shard is dropped at once.

It only saves work; what is a duplicate is decided where all shards meet (`core.dedup`). So it may forget anything at
any time. What it must not do is know a key that is in no log: it begins empty at every resume, and is thrown away with
the rest of a shard's state. A shard's watermark never goes back, so all it knows was accepted before.

Keys lie in two generations. The older one is dropped whole, before any of its keys is older than the horizon.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import native

KEY_BYTES = 16
HORIZON_MS = 600_000
"""How long a key is known at most, in stream time, and no longer than the window. A producer's retries take seconds."""
_FULL = 0.6
_SMALLEST = 1024
_KEY_OBJECT = sys.getsizeof(b"\0" * KEY_BYTES)

Bools = NDArray[np.bool_]


class _Generation:
    """Keys since one moment: in a table of slots where the steps in C are installed, else in a set."""

    def __init__(self, since: int, expected: int = 0) -> None:
        self.since = since
        self.held = 0
        self.keys: set[bytes] = set()
        self.slots = self._empty(expected) if native is not None else np.empty((0, KEY_BYTES), dtype=np.uint8)

    @staticmethod
    def _empty(keys: int) -> NDArray[np.uint8]:
        return np.zeros((max(_SMALLEST, int(keys / _FULL * 1.2)), KEY_BYTES), dtype=np.uint8)

    @property
    def nbytes(self) -> int:
        return self.slots.nbytes + sys.getsizeof(self.keys) + _KEY_OBJECT * len(self.keys)

    def make_room(self, more: int) -> None:
        if native is not None and self.held + more > _FULL * len(self.slots):
            wider = self._empty(2 * (self.held + more))
            native.refill(self.slots, wider)
            self.slots = wider


class Filter:
    """Which keys a shard accepted within `horizon_ms` of its watermark, or within half of that at least."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._young, self._old = _Generation(0), _Generation(0)

    def __len__(self) -> int:
        return self._young.held + self._old.held

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._young.nbytes + self._old.nbytes

    def claim(self, keys: bytes, first: int, last: int) -> Bools:
        """Enter `keys` (16 bytes each); for each, whether it was new. Of equal keys the first is.

        `first` and `last`: the watermark at the first of them, and at the last.
        """
        new = np.ones(len(keys) // KEY_BYTES, dtype=np.bool_)
        if last - first >= self._horizon_ms:  # and where there is no horizon: everything is new, nothing is kept
            self._young, self._old = _Generation(last), _Generation(last)
            return new
        self._turn(first, last)
        young, old = self._young, self._old
        young.make_room(len(new))
        if native is not None:
            young.held += native.claim(keys, old.slots, young.slots, new)
            return new
        several = np.frombuffer(keys, dtype=f"V{KEY_BYTES}").tolist()
        if young.keys.isdisjoint(several) and old.keys.isdisjoint(several) and len(set(several)) == len(several):
            young.keys.update(several)
        else:
            for at, key in enumerate(several):
                new[at] = key not in young.keys and key not in old.keys
                if new[at]:
                    young.keys.add(key)
        young.held = len(young.keys)
        return new

    def _turn(self, first: int, last: int) -> None:
        """Drop what is too old for the last of the keys to come; begin a generation where this one spans too much."""
        if last - self._young.since > self._horizon_ms:
            self._young = _Generation(first)
            self._old = _Generation(first)
        elif last - self._young.since > self._horizon_ms // 2:
            self._old, self._young = self._young, _Generation(first, self._young.held)
        elif last - self._old.since > self._horizon_ms:
            self._old = _Generation(first)

"""The steps in C (`vortex.core._native`, from `native/`). Raises ImportError if they are not installed.

Invalid arguments (arrays of inconsistent lengths, rows outside of their pages) raise ValueError.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from vortex.core.native.contract import KEY_BYTES

if sys.byteorder != "little":  # the build refuses this too, but the file may come from another machine
    raise ImportError("this machine is big-endian, and the steps in C hash only in little-endian order")

from vortex.core import _native
from vortex.core._native import (
    aggregate,
    cbor_records,
    events,
    find,
    group,
    lines,
    maybe,
    numbers,
    order,
    paths,
    records,
    rising,
)

__all__ = [
    "aggregate",
    "cbor_records",
    "events",
    "find",
    "group",
    "key_table",
    "lines",
    "maybe",
    "numbers",
    "order",
    "paths",
    "records",
    "rising",
]

_FULL = 0.6
_SMALLEST = 1024


class KeyTable:
    """A hash table with linear probing, at most 60 % full."""

    def __init__(self, expected: int) -> None:
        self.held = 0
        self._slots = _empty(expected)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._slots.nbytes

    def claim(self, keys: bytes, older: KeyTable) -> NDArray[np.bool_]:
        """See `contract.KeyTable`."""
        new = np.ones(len(keys) // KEY_BYTES, dtype=np.bool_)
        if self.held + len(new) > _FULL * len(self._slots):
            wider = _empty(2 * (self.held + len(new)))
            _native.refill(self._slots, wider)
            self._slots = wider
        self.held += _native.claim(keys, older._slots, self._slots, new)
        return new


def _empty(keys: int) -> NDArray[np.uint8]:
    return np.zeros((max(_SMALLEST, int(keys / _FULL * 1.2)), KEY_BYTES), dtype=np.uint8)


def key_table(expected: int, /) -> KeyTable:
    """See `contract.Steps`."""
    return KeyTable(expected)

"""Where keys stand among sorted ones: exactly, from the keys themselves, or nearly, from three bytes of each.

Keys are two words, evenly spread as hashes are. A sorted column of probes is answered with the first place of each, or
-1. Probes and keys are both sorted, so memory is read from one end to the other, which costs less than a look-up
in a hash table.
"""

from __future__ import annotations

import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps

Words = NDArray[np.uint64]
_T = TypeVar("_T", bound=np.generic)
Places = NDArray[np.int64]
FINGERPRINT_BYTES = 3.3
"""What a key takes of memory in `Fingerprints`."""
_MAPPED = 1 << 18
_PRINT_BITS = 24
_BUCKET_BITS = 4
"""A bucket has 16 to 32 keys: its begin takes 4 bytes, and each key in it gives one false place in 2^24 probes."""


def in_order(high: Words, low: Words) -> Places:
    """The indices that sort keys; equal ones stay in the order they have."""
    order = np.argsort(high)
    first = high[order]
    equal = first[1:] == first[:-1]
    if equal.any():  # few are: what the sort leaves open is settled for these alone
        alike = np.flatnonzero(np.concatenate((equal, [False])) | np.concatenate(([False], equal)))
        some = order[alike]
        order[alike] = some[np.lexsort((some, low[some], high[some]))]
    return order


def find(high: Words, low: Words, probe_high: Words, probe_low: Words) -> Places:
    """For each probe the first place of an equal key, or -1. All are sorted."""
    places = np.empty(len(probe_high), dtype=np.int64)
    some = [np.ascontiguousarray(column) for column in (high, low, probe_high, probe_low)]
    steps.find(some[0], some[1], some[2], some[3], places)
    return places


def _apart(array: NDArray[_T]) -> NDArray[_T]:
    """A copy in a mapping of its own. It lives long, beside much that does not, and whose memory the C library could
    not give back if this lay between.
    """
    if array.nbytes < _MAPPED:
        return array.copy()
    copy = np.frombuffer(mmap.mmap(-1, array.nbytes), dtype=array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Fingerprints:
    """Of the sorted keys of a file 24 bits each, and where the buckets begin that their top bits make: 3.2 bytes a key.

    One absent key in 500,000 or more is said to be there. The caller reads the file at that place and compares.
    """

    def __init__(self, high: Words, part: int = 0, parts: int = 1) -> None:
        """`high`: the first words of keys, sorted, all in this of `parts` (a power of two) equal ranges of all keys."""
        bits = parts.bit_length() - 1
        buckets = min(max(0, len(high).bit_length() - 1 - _BUCKET_BITS), 64 - bits - _PRINT_BITS)
        self._low = np.uint64(part << (64 - bits) if bits else 0)
        self._shift = np.uint64(64 - bits - buckets - _PRINT_BITS)
        numbers = self._numbers(high)
        ends = np.arange((1 << buckets) + 1, dtype=np.uint64) << np.uint64(_PRINT_BITS)
        self._begins = _apart(np.searchsorted(numbers, ends).astype(np.uint32))
        octets = numbers.astype("<u8").view(np.uint8).reshape(-1, 8)
        self._prints = _apart(octets[:, : _PRINT_BITS // 8])

    def __len__(self) -> int:
        return len(self._prints)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._prints.nbytes + self._begins.nbytes

    def may_have(self, probes: Words) -> NDArray[np.bool_]:
        """For each first word of a key, sorted and of the same range, whether it may be there."""
        numbers = self._numbers(probes)
        places = np.empty(len(probes), dtype=np.int64)
        steps.maybe(self._begins, self._prints, numbers, places)
        return places >= 0

    def _numbers(self, high: Words) -> Words:
        """Of each key the number of its bucket, and its fingerprint below that."""
        return (high - self._low) >> self._shift

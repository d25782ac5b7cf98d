"""Looks up keys in sorted keys: exactly, with the keys themselves, or approximately, with three bytes per key.

A key is two words, evenly distributed as hashes are. The answer for a sorted column of probes is the first index of
each, or -1. Probes and keys are both sorted, so memory is read sequentially, which is cheaper than a hash table.
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
FINGERPRINT_BYTES = 3.25
"""Most bytes of memory per key in `Fingerprints` of many keys."""
_MAPPED = 1 << 18
_PRINT_BITS = 24
_BUCKET_BITS = 4
"""A bucket has 16 to 32 keys. Its begin takes 4 bytes; each of its keys gives one false match in 2^24 probes."""


def in_order(high: Words, low: Words) -> Places:
    """The indices that sort the keys; equal keys keep their order."""
    places = np.empty(len(high), dtype=np.int64)
    steps.order(np.ascontiguousarray(high), np.ascontiguousarray(low), places)
    return places


def find(high: Words, low: Words, probe_high: Words, probe_low: Words) -> Places:
    """For each probe the index of the first equal key, or -1. Keys and probes are sorted."""
    places = np.empty(len(probe_high), dtype=np.int64)
    some = [np.ascontiguousarray(column) for column in (high, low, probe_high, probe_low)]
    steps.find(some[0], some[1], some[2], some[3], places)
    return places


def room(count: int, dtype: np.dtype[_T]) -> NDArray[_T]:
    """An empty array in a separate memory mapping, for what lives long.

    Its memory returns to the system when it is freed. On the heap, between short-lived objects, it would also prevent
    the C library from returning their memory.
    """
    if count * dtype.itemsize < _MAPPED:
        return np.empty(count, dtype=dtype)
    return np.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype=dtype)


def apart(array: NDArray[_T]) -> NDArray[_T]:
    """A copy in a separate memory mapping, see `room`."""
    copy = room(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Fingerprints:
    """24 bits of each sorted key of a file, and the begins of the buckets by their top bits: 3.3 bytes per key.

    At most one absent key in 500,000 is reported as present. The caller reads the file at that index and compares.
    """

    def __init__(self, high: Words, part: int = 0, parts: int = 1) -> None:
        """`high`: the sorted high words of keys, all in range `part` of `parts` (a power of two) equal key ranges."""
        bits = parts.bit_length() - 1
        buckets = min(max(0, len(high).bit_length() - 1 - _BUCKET_BITS), 64 - bits - _PRINT_BITS)
        self._low = np.uint64(part << (64 - bits) if bits else 0)
        self._shift = np.uint64(64 - bits - buckets - _PRINT_BITS)
        numbers = self._numbers(high)
        ends = np.arange((1 << buckets) + 1, dtype=np.uint64) << np.uint64(_PRINT_BITS)
        self._begins = apart(np.searchsorted(numbers, ends).astype(np.uint32))
        octets = numbers.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)
        self._prints = apart(octets[:, : _PRINT_BITS // 8])

    def __len__(self) -> int:
        return len(self._prints)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._prints.nbytes + self._begins.nbytes

    def may_have(self, probes: Words) -> NDArray[np.bool_]:
        """For each high word, sorted and of the same range, whether the key may be present."""
        numbers = self._numbers(probes)
        places = np.empty(len(probes), dtype=np.int64)
        steps.maybe(self._begins, self._prints, numbers, places)
        return places >= 0

    def _numbers(self, high: Words) -> Words:
        """Bucket number and fingerprint of each key, as one number."""
        numbers = high - self._low
        numbers >>= self._shift
        return numbers

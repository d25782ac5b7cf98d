"""The steps in Python: for installations without the steps in C, and for comparison with them. See `contract`."""

from __future__ import annotations

import sys
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native.contract import KEY_BYTES, Buffer, EventColumns, Numbers, Paths

_K = TypeVar("_K")
_KEY_OBJECT = sys.getsizeof(b"\0" * KEY_BYTES)
_PRINT_BITS = 24


class Interner(dict[_K, int], Generic[_K]):
    """Numbers things in order of appearance; `things` are in this order."""

    def __init__(self) -> None:
        self.things: list[_K] = []

    def __missing__(self, thing: _K) -> int:
        number = self[thing] = len(self)
        self.things.append(thing)
        return number


# External data: all are left to the caller.


def paths(
    nodes: list[list[tuple[bytes, int, int]]],
    fields: list[list[int]],
    hash_missing: bool,
    formats: bool = False,
    max_bytes: int = 2**62,
    /,
) -> Paths:
    """See `Steps`."""
    return None


def events(
    paths: Paths,
    names: Numbers,
    text: Buffer,
    bounds: Buffer,
    aggregate: Buffer,
    period_ms: int,
    seed: int,
    most: int,
    /,
) -> EventColumns:
    """See `Steps`."""
    return b"", b"", b"", b"", b"", b"", b"", [], list(range(len(bounds) - 1))


def records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
    """See `Steps`."""
    return None


def cbor_records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
    """See `Steps`."""
    return None


def aggregate(data: Buffer, begin: int, end: int, most: int, /) -> list[bytes] | None:
    """See `Steps`."""
    return None


# The other steps.


def rising(lines: Buffer, width: int, /) -> bool:
    """See `Steps`."""
    octets = _column(lines, np.uint8).reshape(-1, width)
    digits = octets[:, :-1]
    if (digits < ord("0")).any() or (digits > ord("9")).any() or (octets[:, -1] != ord("\n")).any():
        return False
    rows = np.frombuffer(lines, dtype=f"S{width}")
    return bool((rows[1:] > rows[:-1]).all())


def numbers(seed: int, /) -> Numbers:
    """See `Steps`."""
    return Interner[tuple[int, int]]()


def group(numbers: Interner[tuple[int, int]], name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]:
    """See `Steps`."""
    before = len(numbers)
    pairs = zip(_column(name, np.int32).tolist(), _column(period, np.int64).tolist(), strict=True)
    found = np.array([numbers[pair] for pair in pairs], dtype=np.int32)
    return found.tobytes(), numbers.things[before:]


def lines(texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes:
    """See `Steps`."""
    rows = _column(chosen, np.int64)
    begin = _column(start, np.int64)[rows]
    end = begin + _column(size, np.int32)[rows]
    places = zip(_column(page, np.int32)[rows].tolist(), begin.tolist(), end.tolist(), strict=True)
    return b"".join([line for text, at, to in places for line in (texts[text][at:to], b"\n")])


class KeyTable:
    """A set."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    @property
    def held(self) -> int:
        """How many keys."""
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sys.getsizeof(self._keys) + _KEY_OBJECT * len(self._keys)

    def claim(self, keys: bytes, older: KeyTable) -> NDArray[np.bool_]:
        """See `contract.KeyTable`."""
        known, old = self._keys, older._keys
        several = np.frombuffer(keys, dtype=f"V{KEY_BYTES}").tolist()
        new = np.ones(len(several), dtype=np.bool_)
        if known.isdisjoint(several) and old.isdisjoint(several) and len(set(several)) == len(several):
            known.update(several)
            return new
        for at, key in enumerate(several):
            new[at] = key not in known and key not in old
            if new[at]:
                known.add(key)
        return new


def key_table(expected: int, /) -> KeyTable:
    """See `Steps`."""
    return KeyTable()


def order(high: Buffer, low: Buffer, places: NDArray[np.int64], /) -> None:
    """See `Steps`."""
    firsts, seconds = _column(high, np.uint64), _column(low, np.uint64)
    places[:] = np.argsort(firsts)
    first = firsts[places]
    equal = first[1:] == first[:-1]
    if equal.any():  # rare: only the equal ones are sorted further
        alike = np.flatnonzero(np.concatenate((equal, [False])) | np.concatenate(([False], equal)))
        some = places[alike]
        places[alike] = some[np.lexsort((some, seconds[some], firsts[some]))]


def find(high: Buffer, low: Buffer, probe_high: Buffer, probe_low: Buffer, places: NDArray[np.int64], /) -> None:
    """See `Steps`."""
    firsts, seconds = _column(high, np.uint64), _column(low, np.uint64)
    first, second = _column(probe_high, np.uint64), _column(probe_low, np.uint64)
    at = np.searchsorted(firsts, first)
    while True:
        same = at < len(firsts)
        same[same] = firsts[at[same]] == first[same]
        less = same.copy()
        less[less] = seconds[at[less]] < second[less]
        if not less.any():
            same[same] = seconds[at[same]] == second[same]
            places[:] = np.where(same, at, -1)
            return
        at = at + less  # skip a smaller key with the same high word


def maybe(begins: Buffer, prints: Buffer, probes: Buffer, places: NDArray[np.int64], /) -> None:
    """See `Steps`."""
    ends, sought = _column(begins, np.uint32), _column(probes, np.uint64)
    buckets = np.repeat(np.arange(len(ends) - 1, dtype=np.uint64), np.diff(ends))
    octets = np.zeros((len(buckets), 4), dtype=np.uint8)
    octets[:, :3] = _column(prints, np.uint8).reshape(-1, 3)
    known = (buckets << np.uint64(_PRINT_BITS)) | octets.view("<u4")[:, 0]
    at = np.searchsorted(known, sought)
    there = at < len(known)
    there[there] = known[at[there]] == sought[there]
    places[:] = np.where(there, at, -1)


_N = TypeVar("_N", bound=np.generic)


def _column(data: Buffer, dtype: type[_N]) -> NDArray[_N]:
    return np.frombuffer(data, dtype=dtype)

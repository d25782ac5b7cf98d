"""The records of a page as columns, as the hot path needs them: one Python object per record would be too slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from vortex.core.model import Record
from vortex.core.native import steps

_LINE_END = 10
_LONGEST = 200
"""Maximum digits of a sequence number; those of Kinesis have 56."""


class Records(Sequence[Record]):
    """Records in stream order. `arrivals` are in seconds since the epoch."""

    def __init__(self, arrivals: NDArray[np.float64], sequences: bytes, data: bytes, bounds: NDArray[np.int64]) -> None:
        """`sequences` has one line per record; the data of record i is `data[bounds[i]:bounds[i + 1]]`."""
        self.arrivals, self.data, self.bounds = arrivals, data, bounds
        self._lines = sequences

    @classmethod
    def of(cls, records: Sequence[Record]) -> Records:
        """The same records as columns."""
        if isinstance(records, Records):
            return records
        datas = [record.data for record in records]
        bounds = np.zeros(len(datas) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, datas), np.int64, len(datas)), out=bounds[1:])
        arrivals = np.array([record.arrival for record in records], dtype=np.float64)
        made = cls(arrivals, "".join(f"{record.sequence}\n" for record in records).encode(), b"".join(datas), bounds)
        made.datas = datas
        return made

    @cached_property
    def datas(self) -> list[bytes]:
        """The data of each record."""
        ends = self.bounds.tolist()
        return [self.data[begin:end] for begin, end in pairwise(ends)]

    @property
    def first(self) -> str:
        """The first record's sequence number."""
        return self._lines[: self._lines.index(b"\n")].decode()

    @property
    def last(self) -> str:
        """The last record's sequence number."""
        return self._lines[self._lines.rfind(b"\n", 0, -1) + 1 : -1].decode()

    @cached_property
    def _width(self) -> int:
        """The bytes of each sequence number's line if all have equally many, the usual case; else 0."""
        raw, width = np.frombuffer(self._lines, dtype=np.uint8), self._lines.find(b"\n") + 1
        return width if width and len(raw) == len(self) * width and (raw[width - 1 :: width] == _LINE_END).all() else 0

    @property
    def ordered(self) -> bool:
        """Whether sequence numbers are numbers in increasing order. Fast for texts of equal length, the usual case."""
        if not len(self):
            return True
        if self._width > 1:
            return self._width <= _LONGEST and steps.rising(self._lines, self._width)
        raw = np.frombuffer(self._lines, dtype=np.uint8)
        if raw.max() > ord("9") or np.count_nonzero(raw < ord("0")) != len(self):  # more than the line ends
            return False
        texts = self._lines.split(b"\n")[:-1]
        if not all(0 < len(text) <= _LONGEST for text in texts):
            return False
        return all(before < after for before, after in pairwise(map(int, texts)))

    @cached_property
    def sequences(self) -> list[str]:
        """The sequence number of each record."""
        return self._lines.decode().split("\n")[:-1]

    def part(self, first: int, last: int) -> Records:
        """The records first..last (half-open), cut out of the columns."""
        if self._width:
            lines = slice(first * self._width, last * self._width)
        else:
            ends = np.flatnonzero(np.frombuffer(self._lines, dtype=np.uint8) == _LINE_END) + 1
            lines = slice(ends[first - 1] if first else 0, ends[last - 1] if last else 0)
        bounds = self.bounds[first : last + 1]
        data = self.data[bounds[0] : bounds[-1]]
        return Records(self.arrivals[first:last], self._lines[lines], data, bounds - bounds[0])

    def __len__(self) -> int:
        return len(self.arrivals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content, so not hashable

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        index = range(len(self))[at]
        begin, end = self.bounds[index : index + 2].tolist()
        return Record(self.sequences[index], float(self.arrivals[index]), self.data[begin:end])

    def __iter__(self) -> Iterator[Record]:
        return map(Record, self.sequences, self.arrivals.tolist(), self.datas)

"""Lines where they lie: in the pages they came with, until a segment's members are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.sorting import stable_order

_T = TypeVar("_T", bound=np.generic)
_ROOM = 1.25
"""How many times its lines a page may be; where more of it is duplicates or rejected, they are copied out of it."""

_OBJECTS = 600
"""Bytes of the objects themselves: a text, three arrays, and what holds them."""


@dataclass(slots=True)
class PageLines:
    """Lines of one page: line i is `text[start[i]:start[i] + size[i]]`, and belongs to `group[i]`."""

    text: bytes
    start: NDArray[np.int64]
    size: NDArray[np.int32]
    group: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, all in."""
        return len(self.text) + self.start.nbytes + self.size.nbytes + self.group.nbytes + _OBJECTS

    @classmethod
    def of(cls, lines: Sequence[bytes], group: int) -> PageLines:
        """Lines of one group that lie in no page."""
        size = np.array([len(line) for line in lines], dtype=np.int32)
        start = np.cumsum(size, dtype=np.int64) - size
        return cls(b"".join(lines), start, size, np.full(len(size), group, dtype=np.int32))

    @classmethod
    def of_text(cls, text: bytes) -> PageLines:
        """Lines of group 0, each with its line break."""
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        start = np.concatenate(([0], ends[:-1] + 1))
        return cls(text, start, (ends - start).astype(np.int32), np.zeros(len(ends), dtype=np.int32))

    def in_group(self, group: int) -> PageLines:
        """The same lines, all of this group."""
        return PageLines(self.text, self.start, self.size, np.full(len(self.size), group, dtype=np.int32))

    def compact(self) -> PageLines:
        """The same lines in not much more memory than they need."""
        used = int(self.size.sum())
        if len(self.text) <= _ROOM * used:
            return self
        text = LineTable([self]).text(np.arange(len(self.size)))
        return PageLines(text, np.cumsum(self.size + 1, dtype=np.int64) - self.size - 1, self.size, self.group)


class LineTable:
    """Lines of several pages as rows, numbered through in the order they came in."""

    def __init__(self, pages: Sequence[PageLines], called: NDArray[np.int32] | None = None) -> None:
        """`called`: what each of the pages' groups is called here; several may be one."""
        self._texts = [page.text for page in pages]
        self._page = np.repeat(np.arange(len(pages), dtype=np.int32), [len(page.size) for page in pages])
        self._start = _joined([page.start for page in pages], np.int64)
        self._size = _joined([page.size for page in pages], np.int32)
        group = _joined([page.group for page in pages], np.int32)
        self._group = group if called is None else called[group]

    @classmethod
    def of(cls, groups: Iterable[Sequence[bytes]]) -> LineTable:
        """Lines without their line breaks, by group."""
        return cls([PageLines.of(lines, number) for number, lines in enumerate(groups)])

    def __len__(self) -> int:
        return len(self._size)

    def in_order(self, groups: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """`(rows, ends, sizes)`: the rows in the order of these groups, which are all, and each group's in their own.

        Group `groups[i]` has those from `ends[i]` to `ends[i + 1]`, and their text takes `sizes[i]` bytes.
        """
        rank = np.empty(len(groups), dtype=np.int32)
        rank[list(groups)] = np.arange(len(groups), dtype=np.int32)
        ranks = rank[self._group]
        rows = stable_order(ranks)
        ends = np.concatenate(([0], np.cumsum(np.bincount(ranks, minlength=len(groups)))))
        upto = np.concatenate(([0], np.cumsum(self._size[rows] + 1, dtype=np.int64)))
        return rows, ends, np.diff(upto[ends])

    def text(self, rows: NDArray[np.int64]) -> bytes:
        """These lines, each with its line break."""
        return steps.lines(self._texts, self._page, self._start, self._size, np.ascontiguousarray(rows))


def _joined(arrays: Sequence[NDArray[_T]], dtype: type[_T]) -> NDArray[_T]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)

"""Lines, kept in the pages they came with until a segment's members are made from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.sorting import stable_order

_T = TypeVar("_T", bound=np.generic)
_ROOM = 1.25
"""Maximum size of a page relative to its kept lines; above it (many duplicates or rejections) lines are copied out."""

_OBJECTS = 600
"""Approximate bytes of the Python objects: a text, three arrays, and their container."""


@dataclass(slots=True)
class PageLines:
    """Lines of one page: line i is `text[start[i]:start[i] + size[i]]`, and belongs to `group[i]`."""

    text: bytes
    start: NDArray[np.int64]
    size: NDArray[np.int32]
    group: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Bytes of memory in total."""
        return len(self.text) + self.start.nbytes + self.size.nbytes + self.group.nbytes + _OBJECTS

    @classmethod
    def of(cls, lines: Sequence[bytes], group: int) -> PageLines:
        """Lines of one group that are not part of a page."""
        size = np.array([len(line) for line in lines], dtype=np.int32)
        start = np.cumsum(size, dtype=np.int64) - size
        return cls(b"".join(lines), start, size, np.full(len(size), group, dtype=np.int32))

    @classmethod
    def of_text(cls, text: bytes) -> PageLines:
        """The lines of a text, each with its line break, all in group 0."""
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        start = np.concatenate(([0], ends[:-1] + 1))
        return cls(text, start, (ends - start).astype(np.int32), np.zeros(len(ends), dtype=np.int32))

    def in_group(self, group: int) -> PageLines:
        """The same lines, all in this group."""
        return PageLines(self.text, self.start, self.size, np.full(len(self.size), group, dtype=np.int32))

    def compact(self) -> PageLines:
        """The same lines, copied out of the page if they are a small part of it."""
        used = int(self.size.sum())
        if len(self.text) <= _ROOM * used:
            return self
        text = LineTable([self]).text(np.arange(len(self.size)))
        return PageLines(text, np.cumsum(self.size + 1, dtype=np.int64) - self.size - 1, self.size, self.group)


class LineTable:
    """The lines of several pages as rows, numbered in order of arrival."""

    def __init__(self, pages: Sequence[PageLines], called: NDArray[np.int32] | None = None) -> None:
        """`called` maps the group numbers of the pages to those of the table (many to one)."""
        self._texts = [page.text for page in pages]
        self._page = np.repeat(np.arange(len(pages), dtype=np.int32), [len(page.size) for page in pages])
        self._start = _joined([page.start for page in pages], np.int64)
        self._size = _joined([page.size for page in pages], np.int32)
        group = _joined([page.group for page in pages], np.int32)
        self._group = group if called is None else called[group]

    @classmethod
    def of(cls, groups: Iterable[Sequence[bytes]]) -> LineTable:
        """A table of lines without line breaks, by group."""
        return cls([PageLines.of(lines, number) for number, lines in enumerate(groups)])

    def __len__(self) -> int:
        return len(self._size)

    def in_order(self, groups: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """`(rows, ends, sizes)`: all rows, ordered by group as in `groups` (all groups), and by number within each.

        Group `groups[i]` has the rows from `ends[i]` to `ends[i + 1]`; their text has `sizes[i]` bytes.
        """
        rank = np.empty(len(groups), dtype=np.int32)
        rank[list(groups)] = np.arange(len(groups), dtype=np.int32)
        ranks = rank[self._group]
        rows = stable_order(ranks)
        ends = np.concatenate(([0], np.cumsum(np.bincount(ranks, minlength=len(groups)))))
        upto = np.concatenate(([0], np.cumsum(self._size[rows] + 1, dtype=np.int64)))
        return rows, ends, np.diff(upto[ends])

    def texts(self, rows: NDArray[np.int64], most: int) -> Iterator[bytes]:
        """The text of these lines in pieces of at most `most` bytes; a longer line is a piece by itself."""
        upto, begin = np.cumsum(self._size[rows] + 1, dtype=np.int64), 0
        while begin < len(rows):
            done = int(upto[begin - 1]) if begin else 0
            end = max(begin + 1, int(np.searchsorted(upto, done + most, side="right")))
            yield self.text(rows[begin:end])
            begin = end

    def text(self, rows: NDArray[np.int64]) -> bytes:
        """The text of these lines, each with its line break."""
        return steps.lines(self._texts, self._page, self._start, self._size, np.ascontiguousarray(rows))


def _joined(arrays: Sequence[NDArray[_T]], dtype: type[_T]) -> NDArray[_T]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)

"""What was read from a shard since its last segment, while it becomes the next one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vortex.core.compression import Compression
from vortex.core.decode.interning import Place
from vortex.core.layout import Layout
from vortex.core.log.lines import LineTable, PageLines
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, Footer, Sealed, folder_hash

_LONG_NAMES = 1000
"""Names of this many characters or more are not cached with their folders."""


@dataclass(slots=True)
class Draft:
    """A segment before compression. `buffered` is its share of the memory limit, in bytes."""

    footer: Footer
    layout: Layout
    places: list[Place]
    pages: list[PageLines]
    rejected: dict[tuple[int, bool], list[PageLines]]
    ids: list[bytes]
    buffered: int

    def seal(self, prev: str, large: Compression | None = Compression.GZIP) -> Sealed:
        """Compress it, as the successor of the segment with digest `prev`; `large` as for `sealing.seal`.

        CPU-heavy: run it in a worker thread.
        """
        cells, number = self._cells()
        rejected = [
            one.in_group(len(self.places) + at) for at, several in enumerate(self.rejected.values()) for one in several
        ]
        lines = LineTable([*self.pages, *rejected], number)
        self.footer.prev = prev
        sealed = seal(self.footer, cells, lines, b"".join(self.ids), large=large)
        self.pages.clear()  # frees the lines while the segment is put
        self.rejected.clear()
        return sealed

    def _cells(self) -> tuple[list[Cell], NDArray[np.int32]]:
        """The cells, and the cell number of each place, then of each period's rejections."""
        each = [_cell(self.layout, *names, period) for names, period in self.places]
        each += [Cell(_rejected_folder(self.layout, *key), key[0]) for key in self.rejected]
        cells: list[Cell] = []
        numbers: list[int] = []
        # Two names may give the same folder, and so the same cell.
        number_of: dict[tuple[str, int], int] = {}
        for cell in each:
            number = number_of.setdefault((cell.folder.path, cell.period), len(cells))
            if number == len(cells):
                cells.append(cell)
            numbers.append(number)
        return cells, np.array(numbers, dtype=np.int32)


def _cell(layout: Layout, customer: str, event_type: str, period: int) -> Cell:
    known = _known_cell if len(customer) + len(event_type) < _LONG_NAMES else _new_cell
    return known(layout, customer, event_type, period)


def _new_cell(layout: Layout, customer: str, event_type: str, period: int) -> Cell:
    path = layout.folder(customer, event_type, period)
    return Cell(Folder(path, folder_hash(path), customer, event_type), period)


# A segment has the partitions of the one before it, nearly all.
_known_cell = lru_cache(maxsize=16_384)(_new_cell)


def _rejected_folder(layout: Layout, period: int, beside: bool) -> Folder:
    path = layout.beside_folder(period) if beside else layout.rejected_folder(period)
    return Folder(path, folder_hash(path), rejected=True, beside=beside)

"""An object to publish, and the pieces of segments that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.log.segment import Folder

NOTHING = np.empty(0, dtype=np.int64)
"""No rows."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One member of one segment, as part of an object.

    `offset` (in the segment), `length` and `digest` are of its blob. In the decompressed blob of `whole` bytes, its
    `raw` bytes start at `begin`. `out` are the numbers, from 0, of its lines that are left out.
    """

    shard: str
    n: int
    offset: int
    length: int
    digest: bytes
    rows: int
    raw: int
    begin: int
    whole: int
    out: NDArray[np.int64] = NOTHING

    @property
    def whole_blob(self) -> bool:
        """Whether its blob may be copied into an object."""
        return not self.shares and not len(self.out)

    @property
    def shares(self) -> bool:
        """Whether other members are in the same blob."""
        return self.raw < self.whole

    @property
    def size(self) -> int:
        """Its share of the blob's compressed bytes, in proportion to its lines."""
        return self.length * self.raw // self.whole if self.raw < self.whole else self.length


@dataclass(frozen=True)  # without slots, for the cached properties
class ObjectSpec:
    """An object to write, or one partition's member of the bundle `key`: its pieces in order of (shard, n)."""

    key: str
    folder: Folder
    period: int
    pieces: tuple[Piece, ...]
    bundled: bool = False

    @cached_property
    def length(self) -> int:
        """Compressed bytes to read for it."""
        return sum(piece.size for piece in self.pieces)

    @cached_property
    def raw(self) -> int:
        """Bytes of its lines, including those that are left out."""
        return sum(piece.raw for piece in self.pieces)

    @cached_property
    def rows(self) -> int:
        """The number of its lines; an object without lines is not written."""
        return sum(piece.rows - len(piece.out) for piece in self.pieces)

    def must_recompress(self, small: int) -> bool:
        """Whether its members are so small that one recompressed member is better. In a bundle it must be one."""
        return self.bundled or (len(self.pieces) > 1 and self.raw < small * len(self.pieces))


def cut(pieces: Sequence[Piece], target: int) -> Iterator[list[Piece]]:
    """Runs of pieces of about `target` bytes; a run ends when it has reached that size."""
    run: list[Piece] = []
    size = 0
    for piece in pieces:
        run.append(piece)
        size += piece.size
        if size >= target:
            yield run
            run, size = [], 0
    if run:
        yield run

"""Lines become a segment: which members share a blob, their index, and the footer that vouches for all of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

import msgspec
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from vortex.core.log.lines import LineTable
from vortex.core.log.segment import (
    LEVEL,
    MAGIC,
    MEMBER,
    TRAILER,
    Cell,
    Counts,
    Folder,
    Footer,
    Members,
    Sealed,
    blob_digest,
    compress,
    footer_digest,
    lz4_frame,
)

ALONE_BYTES = 32 * 1024
"""Bytes of lines from which a member has a blob of its own."""
SHARED_BYTES = 64 * 1024
"""Bytes of lines at which a shared blob is full: whoever wants one of its members has to unfold all."""
_STEP_FOLDERS = 1000


def _blobs(sizes: list[int], periods: list[int]) -> list[int]:
    """Where members with so many bytes of lines, in stored order, begin a blob: the first member of each."""
    begins, filled, before = [], 0, None
    for at, (size, period) in enumerate(zip(sizes, periods, strict=True)):
        alone = size >= ALONE_BYTES
        if alone or filled >= SHARED_BYTES or period != before:
            begins.append(at)
            filled = 0
        filled, before = SHARED_BYTES if alone else filled + size, period
    return begins


def seal(
    footer: Footer,
    cells: Sequence[Cell] = (),
    lines: LineTable | None = None,
    ids: bytes = b"",
    *,
    as_lz4: bool = False,
) -> Sealed:
    """Compress the lines: those of group i are a member of `cells[i]`, each of which stands there once.

    `ids` are those of the lines that are no rejections, which are the first ones, in the order of the lines. `as_lz4`:
    large members are LZ4, too, for of most of them some line will be left out.

    Fills in the footer's index, and what lines tell of their periods (accepted, bytes, events). Heavy: meant for a
    worker thread.
    """
    order = [(cell.period, cell.folder.hash, cell.folder.path) for cell in cells]
    stored = sorted(range(len(cells)), key=order.__getitem__)
    cells = [cells[at] for at in stored]
    lines = LineTable(()) if lines is None else lines
    rows, ends, sizes = lines.in_order(stored)
    begins = _blobs(sizes.tolist(), [cell.period for cell in cells])
    blobs = []
    for first, last in pairwise([*begins, len(cells)]):
        text = lines.text(rows[ends[first] : ends[last]])
        # What has all of a blob to itself may go into an object as it is, if it is gzip.
        blobs.append(lz4_frame(text) if as_lz4 or np.count_nonzero(sizes[first:last]) > 1 else compress(text))
    folders: dict[str, Folder] = {}
    for cell in cells:
        folders.setdefault(cell.folder.path, cell.folder)
    members = _index(cells, folders, np.diff(ends), sizes, begins, blobs)
    _count(footer, members, np.array([cell.folder.rejected for cell in cells], dtype=bool))
    ids = np.frombuffer(ids, dtype="V16")[rows[rows < len(ids) // 16]].tobytes()
    footer.folders = list(folders.values())
    footer.members = members.tobytes()
    footer.data_bytes = sum(map(len, blobs))
    footer.ids = len(ids) // 16
    footer.ids_digest = blob_digest(ids)
    # JSON, since hash keys have 128 bits; the index beside it is binary, being by far the larger part.
    packer = isal_zlib.compressobj(LEVEL)
    parts = chain([struct.pack("<I", sum(map(len, _document(footer))))], _document(footer), [footer.members])
    packed = b"".join([*map(packer.compress, parts), packer.flush()])
    digest = footer_digest(packed, footer.version)
    body = b"".join([*blobs, ids, packed, TRAILER.pack(digest, len(packed), footer.version, MAGIC)])
    return Sealed(footer, digest.hex(), body)


def _document(footer: Footer) -> Iterator[bytes]:
    """The footer without its index as JSON, in pieces: its folders may be a hundred thousand, of any names."""
    around = msgspec.json.encode(msgspec.structs.replace(footer, members=b"", folders=[]))
    before, name, behind = around.partition(b'"folders":[')  # in a text its quotes would be escaped
    yield before + name
    for at in range(0, len(footer.folders), _STEP_FOLDERS):
        yield b"," * bool(at) + msgspec.json.encode(footer.folders[at : at + _STEP_FOLDERS])[1:-1]
    yield behind


def _index(
    cells: Sequence[Cell],
    folders: Iterable[str],
    rows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    begins: Sequence[int],
    blobs: Sequence[bytes],
) -> Members:
    """The members of the cells, which have so many rows and bytes of lines; blob i begins with member `begins[i]`."""
    place = {path: at for at, path in enumerate(folders)}
    index = np.zeros(len(cells), dtype=MEMBER)
    index["folder"] = [place[cell.folder.path] for cell in cells]
    index["period"] = [cell.period for cell in cells]
    index["rows"], index["raw"] = rows, sizes
    several = np.diff([*begins, len(cells)]) if begins else 0
    lengths = np.array([len(blob) for blob in blobs], dtype=np.uint64)
    index["offset"] = np.repeat(np.cumsum(lengths) - lengths, several)
    index["length"] = np.repeat(lengths, several)
    index["digest"] = np.repeat(np.frombuffer(b"".join(map(blob_digest, blobs)), dtype="V16"), several)
    return index


def _count(footer: Footer, members: Members, rejected: NDArray[np.bool_]) -> None:
    """Tell of each period what its lines say, and what follows from that."""
    for period in np.unique(members["period"][~rejected]):
        its = ~rejected & (members["period"] == period)
        counts = footer.periods.setdefault(int(period), Counts())
        counts.accepted += int(members["rows"][its].sum())
        counts.bytes += int(members["raw"][its].sum())
    for counts in footer.periods.values():
        counts.events = counts.accepted + counts.filtered + counts.rejected

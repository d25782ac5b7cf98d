"""Makes a segment from lines: which members share a blob, their index, and the footer with all digests."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import chain, pairwise

import msgspec
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from vortex.core.compression import Compression
from vortex.core.log.lines import LineTable
from vortex.core.log.segment import (
    LEVEL,
    MEMBER,
    SEGMENT_TRAILER,
    VERSION,
    Cell,
    Counts,
    Folder,
    Footer,
    Members,
    Sealed,
    blob_digest,
)
from vortex.core.log.streaming import STEP, lz4_member, member

ALONE_BYTES = 32 * 1024
"""Members of this many bytes of lines or more get a separate blob."""
SHARED_BYTES = 64 * 1024
"""Maximum bytes of lines in a shared blob: reading one of its members decompresses all of it."""
_STEP_FOLDERS = 1000


def _blobs(sizes: list[int], periods: list[int]) -> list[int]:
    """The first member of each blob, for members with these sizes and periods, in stored order."""
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
    large: Compression | None = Compression.GZIP,
) -> Sealed:
    """Compress the lines: those of group i are the member of `cells[i]`; cells are distinct.

    `ids` belong to the lines that are not rejections, which come first, in the order of the lines. `large`: how
    large members are compressed, which objects of that compression can copy; None for LZ4, since most of them will have
    a line left out.

    Fills in the footer's index, and the counts of periods that come from the lines (accepted, bytes, events).
    CPU-heavy: run it in a worker thread.
    """
    order = [(cell.period, cell.folder.hash, cell.folder.path) for cell in cells]
    stored = sorted(range(len(cells)), key=order.__getitem__)
    cells = [cells[at] for at in stored]
    lines = LineTable(()) if lines is None else lines
    rows, ends, sizes = lines.in_order(stored)
    begins = _blobs(sizes.tolist(), [cell.period for cell in cells])
    data, lengths, digests = BytesIO(), [], []
    upto = [0, *np.cumsum(sizes).tolist()]
    for first, last in pairwise([*begins, len(cells)]):
        some = rows[ends[first] : ends[last]]
        texts = lines.texts(some, STEP) if upto[last] - upto[first] > STEP else (lines.text(some),)
        # A member with a separate blob can be copied into an object.
        alone = np.count_nonzero(sizes[first:last]) <= 1
        if alone and large is Compression.ZSTD:
            footer.version = max(footer.version, VERSION)
        blob = member(texts, large) if alone and large is not None else lz4_member(texts)
        data.write(blob)
        lengths.append(len(blob))
        digests.append(blob_digest(blob))
    folders: dict[str, Folder] = {}
    for cell in cells:
        folders.setdefault(cell.folder.path, cell.folder)
    members = _index(cells, folders, np.diff(ends), sizes, begins, lengths, digests)
    _count(footer, members, np.array([cell.folder.rejected for cell in cells], dtype=bool))
    ids = np.frombuffer(ids, dtype="V16")[rows[rows < len(ids) // 16]].tobytes()
    footer.folders = list(folders.values())
    footer.members = members.tobytes()
    footer.data_bytes = data.tell()
    footer.ids = len(ids) // 16
    footer.ids_digest = blob_digest(ids)
    # JSON, since hash keys have 128 bits; the index is binary, since it is by far the larger part.
    packer = isal_zlib.compressobj(LEVEL)
    parts = chain([struct.pack("<I", sum(map(len, _document(footer))))], _document(footer), [footer.members])
    packed = b"".join([*map(packer.compress, parts), packer.flush()])
    for part in (ids, packed, SEGMENT_TRAILER.of(packed, footer.version)):
        data.write(part)
    return Sealed(footer, SEGMENT_TRAILER.digest(packed, footer.version).hex(), data.getvalue())


def _document(footer: Footer) -> Iterator[bytes]:
    """The footer without its index as JSON, in pieces: it may have a hundred thousand folders."""
    around = msgspec.json.encode(msgspec.structs.replace(footer, members=b"", folders=[]))
    before, name, behind = around.partition(b'"folders":[')  # inside a string the quotes would be escaped
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
    lengths: Sequence[int],
    digests: Sequence[bytes],
) -> Members:
    """The member index of the cells, with their rows and sizes; blob i begins with member `begins[i]`."""
    place = {path: at for at, path in enumerate(folders)}
    index = np.zeros(len(cells), dtype=MEMBER)
    index["folder"] = [place[cell.folder.path] for cell in cells]
    index["period"] = [cell.period for cell in cells]
    index["rows"], index["raw"] = rows, sizes
    several = np.diff([*begins, len(cells)]) if begins else 0
    sizes_of = np.array(lengths, dtype=np.uint64)
    index["offset"] = np.repeat(np.cumsum(sizes_of) - sizes_of, several)
    index["length"] = np.repeat(sizes_of, several)
    index["digest"] = np.repeat(np.frombuffer(b"".join(digests), dtype="V16"), several)
    return index


def _count(footer: Footer, members: Members, rejected: NDArray[np.bool_]) -> None:
    """Fill in the counts of each period that come from its lines."""
    for period in np.unique(members["period"][~rejected]):
        its = ~rejected & (members["period"] == period)
        counts = footer.periods.setdefault(int(period), Counts())
        counts.accepted += int(members["rows"][its].sum())
        counts.bytes += int(members["raw"][its].sum())
    for counts in footer.periods.values():
        counts.events = counts.accepted + counts.filtered + counts.rejected

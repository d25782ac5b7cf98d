"""Sealing: members in order of period and folder, blobs shared by small ones, and the footer in pieces."""

from __future__ import annotations

import msgspec
import pytest

from vortex.core.compression import Compression
from vortex.core.log.lines import LineTable
from vortex.core.log.sealing import ALONE_BYTES, SHARED_BYTES, _document, seal
from vortex.core.log.segment import OLDEST, VERSION, Cell, Folder, Footer, compression_of, empty_footer, folder_hash
from vortex.core.model import Position, Start

PERIOD = 300_000


def footer() -> Footer:
    """A footer without lines."""
    at = Position(Start.TRIM_HORIZON)
    return empty_footer("s", owner="me", created=0, position=at, watermark=0, closed_before=0)


def cell(path: str, period: int) -> Cell:
    return Cell(Folder(path, folder_hash(path)), period)


def test_seal_stores_members_by_period_and_hash_of_the_folder() -> None:
    cells = [cell(path, period) for period in (PERIOD, 0) for path in "abcdef"]
    sealed = seal(footer(), cells, LineTable.of([[b"x"]] * len(cells)))
    folders, rows = sealed.footer.folders, sealed.footer.member_rows
    order = [(int(row["period"]), folders[row["folder"]].hash) for row in rows]
    assert order == sorted(order) and len(order) == 12


@pytest.mark.parametrize("kind", Compression)
def test_seal_shares_blobs_among_small_members_of_one_period_only(kind: Compression) -> None:
    """A large member has a blob of its own, which an object of its compression can take over.

    Older programs read a segment without Zstandard.
    """
    cells = [cell("large", 0), *(cell(f"small{n}", period) for period in (0, PERIOD) for n in range(3))]
    sealed = seal(footer(), cells, LineTable.of([[b"x" * ALONE_BYTES], *[[b"y"]] * 6]), large=kind)
    blobs: dict[int, list[tuple[int, int, int]]] = {}
    for _, period, offset, length, _, raw, _ in sealed.footer.member_rows.tolist():
        blobs.setdefault(offset, []).append((period, length, raw))
    for offset, members in blobs.items():
        assert len({period for period, _, _ in members}) == 1
        assert sum(raw for _, _, raw in members[:-1]) < SHARED_BYTES
        large = members[0][2] > ALONE_BYTES
        assert (compression_of(sealed.body[offset : offset + members[0][1]]) is kind) == large == (len(members) == 1)
    assert sealed.footer.version == (VERSION if kind is Compression.ZSTD else OLDEST)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2500])
def test_a_footer_encoded_in_pieces_equals_the_whole_document(count: int) -> None:
    """However many folders it names, and though a text in it looks like them."""
    folders = [Folder(f"f{number}", number, f'"folders":[{number}', "t") for number in range(count)]
    made = msgspec.structs.replace(footer(), folders=folders, owner='"folders":[]', gap='{"folders":[')
    assert b"".join(_document(made)) == msgspec.json.encode(made)

"""Sealing: members in order of period and folder, blobs shared by small ones, and the footer in pieces."""

from __future__ import annotations

import msgspec
import pytest

from vortex.core.log.lines import LineTable
from vortex.core.log.sealing import ALONE_BYTES, SHARED_BYTES, _document, seal
from vortex.core.log.segment import Cell, Folder, Footer, empty_footer, folder_hash, is_lz4
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


def test_seal_shares_blobs_among_small_members_of_one_period_only() -> None:
    """A large member has a gzip blob of its own, which an object can take over."""
    cells = [cell("large", 0), *(cell(f"small{n}", period) for period in (0, PERIOD) for n in range(3))]
    sealed = seal(footer(), cells, LineTable.of([[b"x" * ALONE_BYTES], *[[b"y"]] * 6]))
    blobs: dict[int, list[tuple[int, int, int]]] = {}
    for _, period, offset, length, _, raw, _ in sealed.footer.member_rows.tolist():
        blobs.setdefault(offset, []).append((period, length, raw))
    for offset, members in blobs.items():
        assert len({period for period, _, _ in members}) == 1
        assert sum(raw for _, _, raw in members[:-1]) < SHARED_BYTES
        large = members[0][2] > ALONE_BYTES
        assert is_lz4(sealed.body[offset : offset + members[0][1]]) != large and large == (len(members) == 1)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2500])
def test_a_footer_encoded_in_pieces_equals_the_whole_document(count: int) -> None:
    """However many folders it names, and though a text in it looks like them."""
    folders = [Folder(f"f{number}", number, f'"folders":[{number}', "t") for number in range(count)]
    made = msgspec.structs.replace(footer(), folders=folders, owner='"folders":[]', gap='{"folders":[')
    assert b"".join(_document(made)) == msgspec.json.encode(made)

"""What a planner keeps of the segments that it has read."""

from __future__ import annotations

from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, empty_footer, folder_hash
from vortex.core.model import Position, Start
from vortex.publish.known_logs import Indexes


def head(n: int, rows: int = 100) -> SegmentHeader:
    """A segment of so many rows in one folder, as read with its ids."""
    footer = empty_footer(
        "s", n, owner="me", created=0, position=Position(Start.TRIM_HORIZON), watermark=0, closed_before=0
    )
    ids = bytes(16 * rows)
    made = seal(footer, [Cell(Folder("f", folder_hash("f")), 0)], LineTable.of([[b"x"] * rows]), ids)
    return SegmentHeader("s", n, made.digest, made.footer, ids=ids)


def test_indexes_keep_ids_in_half_of_the_memory_and_indexes_in_all_of_it() -> None:
    size = len(head(0).footer.members) + 8  # beside 1,600 bytes of ids
    indexes = Indexes(most=2 * (1600 + size) + 2 * size)
    kept = [indexes.kept(head(n)) for n in range(8)]
    assert [one.ids is not None for one in kept] == [True, True, *[False] * 6]
    assert [one.has_index for one in kept][:4] == [True] * 4
    assert indexes.held <= indexes.most
    indexes = Indexes(most=1600)
    assert [indexes.kept(head(n)).has_index for n in range(1600 // size + 2)][-1] is False

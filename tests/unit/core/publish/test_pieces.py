"""An object's pieces: what they weigh, what is left out of them, and where objects are cut."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from vortex.core.log.segment import Folder, folder_hash
from vortex.core.publish.pieces import ObjectSpec, Piece, cut

WHOLE = Piece("shard", 3, offset=0, length=100, digest=b"d", rows=10, raw=500, begin=0, whole=500)
SHARED = msgspec.structs.replace(WHOLE, raw=200, begin=300)


def spec(*pieces: Piece, bundled: bool = False) -> ObjectSpec:
    return ObjectSpec("key", Folder("f", folder_hash("f")), 0, pieces, bundled)


def test_piece_of_a_shared_blob_weighs_its_part_and_is_not_copied() -> None:
    assert (WHOLE.size, WHOLE.shares, WHOLE.whole_blob) == (100, False, True)
    assert (SHARED.size, SHARED.shares, SHARED.whole_blob) == (40, True, False)


def test_piece_without_some_of_its_lines_is_not_copied() -> None:
    assert not msgspec.structs.replace(WHOLE, out=np.array([4])).whole_blob


def test_object_counts_lines_that_are_left_out_as_bytes_but_not_as_rows() -> None:
    made = spec(WHOLE, msgspec.structs.replace(SHARED, out=np.array([0, 9])))
    assert (made.length, made.raw, made.rows) == (140, 700, 18)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (spec(WHOLE), False),
        (spec(WHOLE, WHOLE), False),
        (spec(SHARED, SHARED), True),
        (spec(WHOLE, bundled=True), True),
    ],
    ids=["one", "large", "small", "bundled"],
)
def test_object_is_recompressed_when_its_members_are_small_or_in_a_bundle(made: ObjectSpec, expected: bool) -> None:
    assert made.must_recompress(small=500) is expected


@pytest.mark.parametrize(("target", "sizes"), [(1, [1, 1, 1, 1, 1]), (200, [2, 2, 1]), (201, [3, 2]), (10_000, [5])])
def test_objects_end_when_they_have_reached_the_target(target: int, sizes: list[int]) -> None:
    runs = list(cut([WHOLE] * 5, target))
    assert [len(run) for run in runs] == sizes

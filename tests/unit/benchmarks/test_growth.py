"""Requests, bytes and steps grow with the work alone: the counts behind `python -m benchmarks.growth`."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from benchmarks.growth.ground import exponent
from benchmarks.growth.publishing import listed
from vortex.core.publish import members


@pytest.mark.parametrize("segments", [10, 20, 40])
def test_members_are_listed_with_one_look_at_each_segment(segments: int) -> None:
    """However many chunks of members there are."""
    looked = []

    def look(*args: object) -> object:
        looked.append(args)
        return really(*args)  # type: ignore[arg-type]

    really = members._listed
    with patch.object(members, "_listed", look), patch.object(members, "CHUNK_MEMBERS", 100):
        _, pieces = listed(segments, members=200)
    assert (len(looked), pieces) == (segments, 200 * segments)


def test_exponent_is_that_of_a_power() -> None:
    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([10, 20, 40], [5, 20, 80]) == pytest.approx(2)

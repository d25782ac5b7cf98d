"""Numbers for names and places, in order of appearance, in C and in Python."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from tests.native import without_native
from vortex.core.decode.interning import Groups, Names

PAIRS = [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")]


def test_names_are_numbered_in_order_of_appearance() -> None:
    names = Names()
    assert names.number(PAIRS).tolist() == [0, 1, 0, 2]
    assert names.number([("c", "x"), ("b", "x")]).tolist() == [3, 1]
    assert [names[number] for number in range(len(names))] == [("a", "x"), ("b", "x"), ("a", "y"), ("c", "x")]
    assert names.characters == 2 * 4


@pytest.mark.parametrize("way", [nullcontext, without_native], ids=["in C", "in Python"])
def test_groups_are_numbered_by_name_and_period(way: type) -> None:
    """Another table of names continues the numbers; a place may then have two."""
    with way():
        names, groups = Names(), Groups()
        name = names.number(PAIRS)
        period = np.array([0, 0, 5, 0])
        assert groups.number(names, name, period).tolist() == [0, 1, 2, 3]
        assert groups.number(names, name, period).tolist() == [0, 1, 2, 3]
        other = Names()
        assert groups.number(other, other.number(PAIRS[:1]), np.array([0])).tolist() == [4]
        assert groups.places == [(("a", "x"), 0), (("b", "x"), 0), (("a", "x"), 5), (("a", "y"), 0), (("a", "x"), 0)]
        assert groups.characters == 2 * 5

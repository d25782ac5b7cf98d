"""The takers of a plan's ranges."""

from __future__ import annotations

from vortex.core.publish.ranges import takers


def test_takers_are_the_planner_and_then_the_others_in_turn() -> None:
    assert takers(["a", "b", "c"], "b", 4) == ("b", "a", "c", "b")

"""The ranges of a plan."""

from __future__ import annotations

from vortex.core.publish.ranges import range_count, takers


def test_range_count_is_a_power_of_two_that_grows_with_bytes_and_workers() -> None:
    """One range when there is little to publish."""
    assert [range_count(size, 50, 100) for size in (0, 199, 200, 999, 3200, 10**9)] == [1, 1, 2, 8, 32, 32]
    assert range_count(10**9, 1, 100) == 1
    assert takers(["a", "b", "c"], "b", 4) == ("b", "a", "c", "b")

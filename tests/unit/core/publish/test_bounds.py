"""How far back a plan must look for published keys, and which worker decides on which keys."""

from __future__ import annotations

from vortex.core.publish.bounds import Recent, needed_from, parts_of, resolvers, since


def recent(*reached: int) -> list[Recent]:
    """Plans from number 3 on, each with its upper bound."""
    return [Recent(3 + at, upto, 1, 10) for at, upto in enumerate(reached)]


def test_since_returns_the_first_plan_that_may_hold_a_key_within_the_window() -> None:
    """It never decreases, and is the plan itself if no earlier one matters."""
    assert needed_from(1000, 2000, 300, 5000) == 700
    assert needed_from(1000, 9000, 300, 5000) == 3700, "a shard that lags by days needs the keys of reach and window"
    assert since(0, recent(500, 699, 700, 800), 7, 700) == 5
    assert since(6, recent(500, 699, 700, 800), 7, 700) == 6
    assert since(3, recent(500, 600), 5, 700) == 5
    assert since(0, [], 0, 0) == 0


def test_parts_of_returns_a_stable_power_of_two() -> None:
    """At most the number of workers; zero without rows; the previous number while half of it is enough."""
    assert [parts_of(rows, 5, 100, 1, 0) for rows in (0, 1, 199, 200, 800, 10**6)] == [0, 1, 1, 2, 4, 4]
    assert [parts_of(rows, 5, 100, 1, 4) for rows in (199, 200, 399, 10**6)] == [1, 4, 4, 4]
    assert parts_of(150, 5, 100, 1, 2) == 2
    assert parts_of(800, 1, 100, 1, 4) == 1


def test_parts_of_returns_as_many_parts_as_are_needed_at_once() -> None:
    """Rounded up, and whatever the previous plan had: each part's keys must fit into the memory of its worker."""
    assert [parts_of(100, 20, 100, needed, 0) for needed in (0, 1, 2, 3, 4, 5, 12, 17)] == [1, 1, 2, 4, 4, 8, 16, 16]
    assert parts_of(100, 20, 100, 2, 1) == 2
    assert parts_of(100, 20, 100, 5, 4) == 8
    assert parts_of(100, 20, 100, 2, 4) == 4


def test_resolvers_keep_their_parts_from_plan_to_plan() -> None:
    """Other workers fill the gaps."""
    assert resolvers(["c", "a", "b"], 2, ()) == ("a", "b")
    assert resolvers(["c", "b", "d"], 2, ("a", "b")) == ("c", "b")
    assert resolvers(["c", "b"], 4, ("a", "b")) == ("b", "c", "b", "c")

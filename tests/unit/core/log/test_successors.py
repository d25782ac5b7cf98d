"""Who follows a shard that the stream no longer lists."""

from __future__ import annotations

from collections.abc import Sequence

from vortex.core.log.rules import successors
from vortex.core.model import ShardInfo


def shard(name: str, start: int, end: int, *parents: str) -> ShardInfo:
    """A shard of the keys start..end."""
    return ShardInfo(name, parents, start, end)


def told(
    gone: ShardInfo, listed: list[ShardInfo], live: list[ShardInfo], ended: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The heirs, and whom each waits for."""
    known = {one.id: one for one in [gone, *live]}
    return {successor.id: successor.parents for successor in successors(gone, listed, known, ended)}


A, B = shard("a", 0, 49), shard("b", 50, 99)
MERGED = shard("m", 0, 99, "a", "b")
LEFT, RIGHT = shard("l", 0, 29, "m"), shard("r", 30, 99, "m")


def test_its_children_where_they_are_listed() -> None:
    """A merge waits for the other parent, too, as ever."""
    assert told(A, [MERGED], [B]) == {"m": ("a", "b")}
    assert told(MERGED, [LEFT, RIGHT], []) == {"l": ("m",), "r": ("m",)}


def test_a_child_that_another_parents_log_has_named() -> None:
    """It is not listed any more, and will name its own heirs when its turn comes."""
    assert told(A, [LEFT, RIGHT], [MERGED]) == {"m": ("a", "b")}


def test_the_oldest_listed_of_its_range_where_its_children_are_gone_as_well() -> None:
    """Each waits for every live log of its range: the other parent of a merge that nobody saw."""
    assert told(A, [LEFT, RIGHT], [B]) == {"l": ("a",), "r": ("a", "b")}
    assert told(B, [LEFT, RIGHT], [A]) == {"r": ("a", "b")}


def test_an_heir_that_somebody_named_is_named_alike() -> None:
    """The second parent to vanish says what the first one said."""
    assert told(B, [LEFT, RIGHT], [shard("r", 30, 99, "a", "b"), shard("l", 0, 29, "a")]) == {"r": ("a", "b")}


def test_no_part_of_the_range_is_left_out() -> None:
    """One child is still there, the other was split early and is gone: its children follow."""
    whole = shard("w", 0, 99)
    low, early, late = shard("low", 0, 49, "w"), shard("e", 50, 74, "high"), shard("f", 75, 99, "high")
    assert told(whole, [low, early, late], []) == {"low": ("w",), "e": ("w",), "f": ("w",)}


def test_a_child_with_a_parent_that_nobody_knows() -> None:
    """That parent was itself a merge, which came and went while nobody looked: its own parents are waited for."""
    third = shard("c", 100, 199)
    youngest = shard("y", 0, 199, "m", "c")
    assert told(third, [youngest], [A, B]) == {"y": ("a", "b", "c")}
    assert told(A, [youngest], [B, shard("y", 0, 199, "a", "b", "c")]) == {"y": ("a", "b", "c")}


def test_what_has_ended_follows_nobody() -> None:
    """The others of the range went on without this one, which had nothing left to give."""
    assert told(A, [LEFT, RIGHT], [RIGHT], ended=["l"]) == {"r": ("m",)}
    assert told(A, [MERGED], [LEFT, RIGHT], ended=["m"]) == {}

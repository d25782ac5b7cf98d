"""The successors of a shard that the stream no longer lists."""

from __future__ import annotations

from collections.abc import Sequence

from vortex.core.log.rules import successors
from vortex.core.model import ShardInfo


def shard(name: str, start: int, end: int, *parents: str) -> ShardInfo:
    """A shard with the hash keys start..end."""
    return ShardInfo(name, parents, start, end)


def successors_of(
    gone: ShardInfo, listed: list[ShardInfo], live: list[ShardInfo], ended: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The ids of the successors, and the parents that each waits for."""
    known = {one.id: one for one in [gone, *live]}
    return {successor.id: successor.parents for successor in successors(gone, listed, known, ended)}


A, B = shard("a", 0, 49), shard("b", 50, 99)
MERGED = shard("m", 0, 99, "a", "b")
LEFT, RIGHT = shard("l", 0, 29, "m"), shard("r", 30, 99, "m")


def test_successors_are_the_children_when_they_are_listed() -> None:
    """The child of a merge also waits for the other parent."""
    assert successors_of(A, [MERGED], [B]) == {"m": ("a", "b")}
    assert successors_of(MERGED, [LEFT, RIGHT], []) == {"l": ("m",), "r": ("m",)}


def test_successors_include_an_unlisted_child_that_another_log_names() -> None:
    """Its own successors are determined when its turn comes."""
    assert successors_of(A, [LEFT, RIGHT], [MERGED]) == {"m": ("a", "b")}


def test_successors_are_the_oldest_listed_shards_of_the_range_when_the_children_are_gone() -> None:
    """Each waits for every live log of its range, such as the other parent of an unseen merge."""
    assert successors_of(A, [LEFT, RIGHT], [B]) == {"l": ("a",), "r": ("a", "b")}
    assert successors_of(B, [LEFT, RIGHT], [A]) == {"r": ("a", "b")}


def test_successors_have_the_parents_that_another_log_gave_them() -> None:
    """The second parent to vanish returns what the first one returned."""
    assert successors_of(B, [LEFT, RIGHT], [shard("r", 30, 99, "a", "b"), shard("l", 0, 29, "a")]) == {"r": ("a", "b")}


def test_successors_cover_the_whole_range_of_the_shard() -> None:
    """One child is still listed; the other was split and is gone, so its children follow."""
    whole = shard("w", 0, 99)
    low, early, late = shard("low", 0, 49, "w"), shard("e", 50, 74, "high"), shard("f", 75, 99, "high")
    assert successors_of(whole, [low, early, late], []) == {"low": ("w",), "e": ("w",), "f": ("w",)}


def test_successors_wait_for_the_live_logs_of_a_range_whose_parent_is_unknown() -> None:
    """The unknown parent was itself a merge that came and went unseen: the child waits for that merge's parents."""
    third = shard("c", 100, 199)
    youngest = shard("y", 0, 199, "m", "c")
    assert successors_of(third, [youngest], [A, B]) == {"y": ("a", "b", "c")}
    assert successors_of(A, [youngest], [B, shard("y", 0, 199, "a", "b", "c")]) == {"y": ("a", "b", "c")}


def test_successors_exclude_shards_that_have_ended() -> None:
    """The other shards of the range went on without this one, which had no records left."""
    assert successors_of(A, [LEFT, RIGHT], [RIGHT], ended=["l"]) == {"r": ("m",)}
    assert successors_of(A, [MERGED], [LEFT, RIGHT], ended=["m"]) == {}

"""Where a stream starts that a KCL application has read: shard by shard, from its lease table."""

from __future__ import annotations

import pytest

from vortex.core.fleet.kcl_migration import inherited
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.model import Position, ShardInfo, Start

NOW = 1_700_000_000_000
OTHERWISE = Position(Start.AT_TIMESTAMP, "77")
OLDEST = Position(Start.TRIM_HORIZON)
NEWEST = Position(Start.AT_TIMESTAMP, str(NOW))


def shard(name: str, *parents: str, start: int = 100, end: int | None = None) -> ShardInfo:
    """A listed shard."""
    return ShardInfo(name, parents, start_sequence=str(start), end_sequence=None if end is None else str(end))


def at(sequence: int, skip: int = 1) -> Position:
    """The position after a numbered checkpoint."""
    return Position(Start.AT_SEQUENCE_NUMBER, str(sequence), skip)


def starts(shards: list[ShardInfo], rows: dict[str, str | Checkpoint]) -> dict[str, Position]:
    """The root shards and their start positions."""
    leases = [
        Lease(key, "kcl-1", 5, row if isinstance(row, Checkpoint) else Checkpoint(row)) for key, row in rows.items()
    ]
    return {root.shard.id: root.position for root in inherited(shards, leases, otherwise=OTHERWISE, now_ms=NOW)}


def test_inherited_starts_each_shard_at_its_checkpoint() -> None:
    """With the sub-records of an aggregate; a sentinel means the same as in the KCL."""
    shards = [shard(name) for name in "abcdef"]
    rows: dict[str, str | Checkpoint] = {
        "a": "123",
        "b": Checkpoint("456", 11),
        "c": "TRIM_HORIZON",
        "d": "LATEST",
        "e": "AT_TIMESTAMP",
        "of another stream": "9",
    }
    assert starts(shards, rows) == {
        "a": at(123),
        "b": at(456, 12),
        "c": OLDEST,
        "d": NEWEST,
        "e": OTHERWISE,
        "f": OTHERWISE,
    }


@pytest.mark.parametrize("rows", [{}, {"other": "5"}])
def test_inherited_returns_nothing_when_no_row_is_of_the_stream(rows: dict[str, str | Checkpoint]) -> None:
    """The settings then decide."""
    assert starts([shard("a")], rows) == {}


def test_inherited_makes_the_children_of_an_ended_shard_roots() -> None:
    """They start at their own checkpoints, or at their beginning if they have not been read."""
    shards = [shard("a", end=200), shard("b", "a"), shard("c", "a")]
    assert starts(shards, {"a": "SHARD_END"}) == {"b": OLDEST, "c": OLDEST}
    assert starts(shards, {"a": "SHARD_END", "b": "150", "c": "TRIM_HORIZON"}) == {"b": at(150), "c": OLDEST}


def test_inherited_omits_the_children_of_a_shard_that_has_not_ended() -> None:
    """They follow from the log of their parent."""
    shards = [shard("a", end=200), shard("b", "a"), shard("c", "a")]
    assert starts(shards, {"a": "150", "b": "TRIM_HORIZON", "c": "TRIM_HORIZON"}) == {"a": at(150)}


def test_inherited_treats_a_missing_row_of_a_parent_as_ended() -> None:
    """The KCL deletes the row once the children are being read; also over several generations."""
    shards = [shard("a", end=200), shard("b", "a", end=300), shard("c", "b"), shard("d", "b")]
    assert starts(shards, {"c": "250", "d": "260"}) == {"c": at(250), "d": at(260)}
    assert starts(shards, {"b": "150"}) == {"b": at(150)}


def test_inherited_starts_the_ended_parent_of_a_merge_at_its_end_when_the_other_has_not_ended() -> None:
    """The logs of both parents must end before the child begins."""
    shards = [shard("a", end=200), shard("b", end=200), shard("m", "a", "b"), shard("z")]
    rows: dict[str, str | Checkpoint] = {"a": "SHARD_END", "b": "150", "m": "TRIM_HORIZON", "z": "110"}
    assert starts(shards, rows) == {"a": Position(Start.LATEST), "b": at(150), "z": at(110)}
    assert starts(shards, rows | {"b": "SHARD_END"}) == {"m": OLDEST, "z": at(110)}


@pytest.mark.parametrize(
    "rows",
    [
        {"a": "123", "b": "SHARD_END", "c": "SHARD_END"},
        {"a": "123", "b": "124", "c": "5600"},
        {"a": "5100", "b": "SHARD_END", "c": "SHARD_END"},
    ],
)
def test_inherited_returns_nothing_when_the_table_is_of_an_earlier_stream_of_the_name(
    rows: dict[str, str | Checkpoint],
) -> None:
    """A checkpoint before its shard's first number, or the end of an open shard, disproves all rows."""
    shards = [shard("a", start=5000), shard("b", start=5000, end=6000), shard("c", "b", start=5500)]
    assert starts(shards, rows) == {}
    assert starts(shards, {"a": "5100", "b": "SHARD_END", "c": "5600"}) == {"a": at(5100), "c": at(5600)}


def test_inherited_believes_shard_end_when_the_shard_is_still_listed_as_open() -> None:
    """ListShards shows it so for a while, beside its children."""
    assert starts([shard("a"), shard("b", "a")], {"a": "SHARD_END"}) == {"b": OLDEST}


@pytest.mark.parametrize("first", ["x", "-1", "9" * 5000])
def test_inherited_ignores_a_first_sequence_number_that_is_not_a_number(first: str) -> None:
    shards = [ShardInfo("a", (), start_sequence=first)]
    assert starts(shards, {"a": "123"}) == {"a": at(123)}

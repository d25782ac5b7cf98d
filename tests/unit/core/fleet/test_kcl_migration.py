"""Where a stream begins that a KCL application read before: shard by shard, as its lease table tells."""

from __future__ import annotations

import pytest

from vortex.core.fleet.kcl_migration import inherited
from vortex.core.fleet.lease import WHOLE, Checkpoint, Lease, checkpoint_of
from vortex.core.model import Position, ShardInfo, Start

NOW = 1_700_000_000_000
OTHERWISE = Position(Start.AT_TIMESTAMP, "77")
OLDEST = Position(Start.TRIM_HORIZON)
NEWEST = Position(Start.AT_TIMESTAMP, str(NOW))


def shard(name: str, *parents: str, start: int = 100, end: int | None = None) -> ShardInfo:
    """A listed shard."""
    return ShardInfo(name, parents, start_sequence=str(start), end_sequence=None if end is None else str(end))


def at(sequence: int, taken: int = 1) -> Position:
    """Where a numbered checkpoint goes on."""
    return Position(Start.AT_SEQUENCE_NUMBER, str(sequence), taken)


def starts(shards: list[ShardInfo], rows: dict[str, str | Checkpoint]) -> dict[str, Position]:
    """The roots, and where each starts."""
    leases = [
        Lease(key, "kcl-1", 5, told if isinstance(told, Checkpoint) else Checkpoint(told)) for key, told in rows.items()
    ]
    return {root.shard.id: root.position for root in inherited(shards, leases, otherwise=OTHERWISE, now_ms=NOW)}


def test_each_shard_goes_on_where_its_checkpoint_is() -> None:
    """With the sub-records of an aggregate; a sentinel means what it means to the KCL."""
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
def test_a_table_without_the_streams_shards_tells_nothing(rows: dict[str, str | Checkpoint]) -> None:
    """The settings do then."""
    assert starts([shard("a")], rows) == {}


def test_children_of_an_ended_shard_are_roots() -> None:
    """From their own checkpoints, or from their beginning: nobody has read them."""
    shards = [shard("a", end=200), shard("b", "a"), shard("c", "a")]
    assert starts(shards, {"a": "SHARD_END"}) == {"b": OLDEST, "c": OLDEST}
    assert starts(shards, {"a": "SHARD_END", "b": "150", "c": "TRIM_HORIZON"}) == {"b": at(150), "c": OLDEST}


def test_a_shard_that_is_being_read_holds_its_children() -> None:
    """They follow from its log."""
    shards = [shard("a", end=200), shard("b", "a"), shard("c", "a")]
    assert starts(shards, {"a": "150", "b": "TRIM_HORIZON", "c": "TRIM_HORIZON"}) == {"a": at(150)}


def test_a_row_that_was_cleaned_up_means_done() -> None:
    """The KCL deletes it once the children have begun; also over generations."""
    shards = [shard("a", end=200), shard("b", "a", end=300), shard("c", "b"), shard("d", "b")]
    assert starts(shards, {"c": "250", "d": "260"}) == {"c": at(250), "d": at(260)}
    assert starts(shards, {"b": "150"}) == {"b": at(150)}


def test_a_merge_with_one_parent_done_waits_for_the_other() -> None:
    """The one that is done is a root at its end, so that the child, whose parents' logs must end, can begin."""
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
def test_a_table_from_before_the_stream_was_made_anew_counts_for_nothing(rows: dict[str, str | Checkpoint]) -> None:
    """Checkpoints before their shard's beginning, or the end of a shard that is open: none of its rows is believed."""
    shards = [shard("a", start=5000), shard("b", start=5000, end=6000), shard("c", "b", start=5500)]
    assert starts(shards, rows) == {}
    assert starts(shards, {"a": "5100", "b": "SHARD_END", "c": "5600"}) == {"a": at(5100), "c": at(5600)}


def test_a_parent_that_is_listed_as_open_may_have_ended() -> None:
    """ListShards shows it so for a while, beside its children."""
    assert starts([shard("a"), shard("b", "a")], {"a": "SHARD_END"}) == {"b": OLDEST}


@pytest.mark.parametrize(
    ("position", "told"),
    [
        (Position(Start.AFTER_SEQUENCE_NUMBER, "123"), Checkpoint("123", WHOLE)),
        (Position(Start.AT_SEQUENCE_NUMBER, "123", 4), Checkpoint("123", 3)),
        (Position(Start.TRIM_HORIZON), Checkpoint("TRIM_HORIZON")),
        (Position(Start.AT_TIMESTAMP, "77"), Checkpoint("TRIM_HORIZON")),
    ],
)
def test_what_was_committed_is_told_as_a_checkpoint(position: Position, told: Checkpoint) -> None:
    """And taken up again from there it is the same place, or an earlier one."""
    assert checkpoint_of(position) == told
    assert checkpoint_of(position, ended=True).ended
    if told.numbered:
        (again,) = starts([shard("a")], {"a": told}).values()
        assert again == at(123, told.sub + 1)

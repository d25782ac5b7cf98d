"""Leases and checkpoints."""

from __future__ import annotations

import pytest

from tests.unit.core.fleet.test_kcl_migration import at, shard, starts
from vortex.core.fleet.lease import (
    WHOLE,
    Checkpoint,
    Lease,
    beats_together,
    checkpoint_of,
    checkpointed,
    handed_over,
    of_earlier_stream,
    released,
    renewed,
    same_acquisition,
    shared_token,
    taken,
)
from vortex.core.model import Position, Start


@pytest.mark.parametrize(
    ("position", "checkpoint"),
    [
        (Position(Start.AFTER_SEQUENCE_NUMBER, "123"), Checkpoint("123", WHOLE)),
        (Position(Start.AT_SEQUENCE_NUMBER, "123", 4), Checkpoint("123", 3)),
        (Position(Start.TRIM_HORIZON), Checkpoint("TRIM_HORIZON")),
        (Position(Start.AT_TIMESTAMP, "77"), Checkpoint("TRIM_HORIZON")),
    ],
)
def test_checkpoint_of_returns_the_checkpoint_of_a_committed_position(
    position: Position, checkpoint: Checkpoint
) -> None:
    """Resuming from the checkpoint starts at the same place or earlier."""
    assert checkpoint_of(position) == checkpoint
    assert checkpoint_of(position, ended=True).ended
    if checkpoint.numbered:
        (again,) = starts([shard("a")], {"a": checkpoint}).values()
        assert again == at(123, checkpoint.sub + 1)


@pytest.mark.parametrize("sequence", ["", "x", "-5", "1e5", "٣", "9" * 5000])
def test_checkpoint_is_neither_numbered_nor_ended_when_its_sequence_is_invalid(sequence: str) -> None:
    assert not Checkpoint(sequence).numbered
    assert not Checkpoint(sequence).ended


FREE = Lease("shard", None, 3, Checkpoint("TRIM_HORIZON"))


def test_taken_counts_a_switch_only_when_the_owner_changes() -> None:
    """Not for a free lease or one's own."""
    mine = taken(FREE, "me", "t1")
    assert (mine.owner, mine.token, mine.counter, mine.switches, mine.previous_owner) == ("me", "t1", 4, 0, None)
    again = taken(mine, "me", "t2")
    assert (again.token, again.switches, again.previous_owner) == ("t2", 0, None)
    other = taken(again, "other", "t3")
    assert (other.owner, other.switches, other.previous_owner) == ("other", 1, "me")
    assert handed_over(other).previous_owner is None
    assert handed_over(other).counter == other.counter, "a hand-over is not a heartbeat"


def test_writes_of_an_owner_increment_the_counter() -> None:
    """It is the heartbeat, and the condition of the next write."""
    mine = taken(FREE, "me", "t1")
    assert renewed(mine).counter == mine.counter + 1
    written = checkpointed(mine, Checkpoint("SHARD_END"), ("b", "a"))
    assert (written.counter, written.checkpoint.ended, written.children) == (mine.counter + 1, True, ("a", "b"))
    assert checkpointed(written, Checkpoint("SHARD_END")).children == ("a", "b")
    gone = released(mine)
    assert (gone.owner, gone.token, gone.counter) == (None, "", mine.counter + 1)


def test_same_acquisition_holds_after_heartbeats_and_not_after_another_take() -> None:
    mine = taken(FREE, "me", "t1")
    assert same_acquisition(mine, renewed(mine))
    assert not same_acquisition(mine, taken(mine, "me", "t2"))
    assert not same_acquisition(FREE, FREE)


@pytest.mark.parametrize(("row", "stream", "earlier"), [(5, 9, True), (9, 9, False), (0, 9, False), (5, 0, False)])
def test_of_earlier_stream_compares_the_creation_time_of_the_stream(row: int, stream: int, earlier: bool) -> None:
    """A row without one may belong to any stream: the KCL writes none."""
    assert of_earlier_stream(Lease("shard", None, 3, Checkpoint("TRIM_HORIZON"), stream=row), stream) == earlier


@pytest.mark.parametrize("owner", ["host:1:ab", "a/b", "a", ""])
def test_beats_together_believes_a_token_of_the_owner_alone(owner: str) -> None:
    """Of other owners there may be one whose name begins like this one's."""
    one = taken(Lease("s", None, 0, Checkpoint("TRIM_HORIZON")), owner, shared_token(owner, "9f"))
    assert beats_together(one)
    for other in (f"{owner}/9f", f"{owner}x", "b"):
        assert not beats_together(taken(one, other, one.token))
        assert not beats_together(taken(one, owner, shared_token(other, "9f")))
    assert not beats_together(taken(one, owner, "9f")) or not owner
    assert not beats_together(released(one))

"""Leases and checkpoints."""

from __future__ import annotations

import pytest

from tests.unit.core.fleet.test_kcl_migration import at, shard, starts
from vortex.core.fleet.lease import WHOLE, Checkpoint, checkpoint_of
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

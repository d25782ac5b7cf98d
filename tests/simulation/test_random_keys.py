"""Copies on random shards, briefly; `python -m tests.random_keys` runs for long."""

from __future__ import annotations

import pytest

from simulation import vtime
from tests.random_keys import run


@pytest.mark.parametrize("shards", [2, 8])
def test_each_id_is_published_once_when_its_copies_are_on_random_shards(shards: int) -> None:
    """Seconds, minutes and just under a window apart, while shards split and merge and the worker is killed."""
    result = vtime.run(run(shards, events=40, copies=3, seed=shards))
    assert result["rows"] == 40
    assert result["dropped"] + result["filtered"] == 80

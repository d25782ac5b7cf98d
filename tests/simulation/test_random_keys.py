"""Copies on whatever shards, briefly; for long: `python -m tests.random_keys`."""

from __future__ import annotations

import pytest

from simulation import vtime
from tests.random_keys import run


@pytest.mark.parametrize("shards", [2, 8])
def test_each_id_is_published_once_whatever_shards_its_copies_lie_on(shards: int) -> None:
    """Seconds, minutes and just under a window apart; shards split and merge, and the worker is killed, in between."""
    told = vtime.run(run(shards, events=40, copies=3, seed=shards))
    assert told["rows"] == 40
    assert told["dropped"] + told["filtered"] == 80

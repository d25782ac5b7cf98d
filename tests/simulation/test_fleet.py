"""Fleets in the simulated world, and a larger one that only has to share out its shards."""

from __future__ import annotations

import pytest

from simulation.world import run
from tests.simulation.fleet import main

FOUND = (3, 1041, 2010, 2025, 5002, 5065, 5084)
"""Verify upon a clean-up; a restored table whose mended rows named no children (two); a pushed shard that never came to
commit; a rest after a nearly full page; a child whose other parent was not born yet (two)."""
SEEDS = sorted({*FOUND, *range(100, 108)})


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_in_a_fleet(seed: int) -> None:
    """Under any fault conditions: `python -m tests.simulation --fleet --seed S --trace` shows a failing one."""
    outcome = run(seed, fleet=True)
    assert outcome.violations == [], f"python -m tests.simulation --fleet --seed {seed} --trace"


def test_balance_comes_within_two_minutes_from_any_start(capsys: pytest.CaptureFixture[str]) -> None:
    """All at once, after a stop, a death, two joins, from one that has all; then nothing moves."""
    assert main(["--shards", "40", "--workers", "5", "--minutes", "7"]) == 0
    assert "0 steals, 0 lost races" in capsys.readouterr().out

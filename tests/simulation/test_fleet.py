"""Fleets in the simulated world, and the balance of a larger fleet."""

from __future__ import annotations

import pytest

from simulation.world import run
from tests.simulation.fleet import main

FOUND = (3, 1041, 2010, 2025, 5002, 5065, 5084)
"""Seeds that once found a bug: verify during a clean-up; a restored table whose repaired rows named no children (two);
an advanced shard that never committed; a pause after a nearly full page; a child whose other parent had not started
(two)."""
SEEDS = sorted({*FOUND, *range(100, 108)})


@pytest.mark.parametrize("seed", SEEDS)
def test_simulation_of_a_fleet_holds_every_invariant(seed: int) -> None:
    """Under any fault conditions: `python -m tests.simulation --fleet --seed S --trace` shows a failing one."""
    outcome = run(seed, fleet=True)
    assert outcome.violations == [], f"python -m tests.simulation --fleet --seed {seed} --trace"


def test_fleet_is_balanced_within_two_minutes_from_any_start(capsys: pytest.CaptureFixture[str]) -> None:
    """All at once, after a stop, a death, two joins, and from one worker that has all; then nothing moves."""
    assert main(["--shards", "40", "--workers", "5", "--minutes", "7"]) == 0
    assert "0 steals, 0 lost races" in capsys.readouterr().out

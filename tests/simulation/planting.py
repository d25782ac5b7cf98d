"""Planted bugs: the program is made wrong in one place, to show that the simulation finds it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from simulation.world import run

SEEDS = 120
"""Seeds within which every planted bug must be found; most are in the first few."""
Plant = Callable[[], contextlib.AbstractContextManager[Any]]


class Bug(NamedTuple):
    """A bug; the message of the run that finds it; the faults without which it cannot show; where the hunt begins."""

    name: str
    plant: Plant
    says: str
    wanted: tuple[str, ...] = ()
    begin: int = 0
    """A seed that finds it: only for bugs that the first seeds do not find, which would make the hunt long."""


def hunt(bug: Bug, *, fleet: bool = False) -> None:
    """Fail unless the simulation finds the bug within SEEDS seeds, with the expected message."""
    with bug.plant():
        seeds = (*range(bug.begin, SEEDS), *range(bug.begin))
        runs = (run(seed, wanted=bug.wanted, fleet=fleet) for seed in seeds)
        found = next((outcome for outcome in runs if outcome.violations), None)
    assert found is not None, f"{SEEDS} seeds did not find: {bug.name}"
    assert re.match(bug.says, found.violations[0]), f"seed {found.seed} found something else: {found.violations[0]}"

"""The model behind docs/decisions/0018: its protocol holds, and its planted bugs are found."""

from __future__ import annotations

import contextlib

import pytest

from tests.models.group_log import BUGS, Violation, run


def test_group_log_model_holds_in_random_schedules() -> None:
    assert sum(run(seed) for seed in range(20)) > 1000


@pytest.mark.parametrize("bug", BUGS)
def test_group_log_model_finds_a_planted_bug(bug: str) -> None:
    for seed in range(60):
        with contextlib.suppress(Violation):
            run(seed, bug)
            continue
        return
    pytest.fail(f"60 schedules did not find {bug}")

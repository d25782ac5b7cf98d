"""Work in steps."""

from __future__ import annotations

from vortex.core.decode.steps import Steps, at_once


def test_at_once_runs_every_step_and_returns_the_answer() -> None:
    done = []

    def work() -> Steps[str]:
        for step in range(3):
            done.append(step)
            yield
        return "answer"

    assert at_once(work()) == "answer"
    assert done == [0, 1, 2]

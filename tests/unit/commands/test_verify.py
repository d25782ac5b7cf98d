"""`vortex verify`: what it prints about broken invariants."""

from __future__ import annotations

import json

import pytest

from vortex.commands import verify as command
from vortex.core.invariants import Invariant
from vortex.exits import Exit
from vortex.verify.report import Report


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    """An empty report, which the command uses."""
    found = Report()

    async def verified(_: object) -> Report:
        return found

    monkeypatch.setattr(command, "_verify", verified)
    return found


def test_verify_explains_each_broken_invariant_once(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """After the faults: the promise, and the action."""
    report.fault(Invariant.WRITTEN_ONCE, "a", "was published but is missing")
    report.fault(Invariant.SUMS_AGREE, "b", "counts")
    report.fault(Invariant.WRITTEN_ONCE, "c", "belongs to no plan")
    assert command.verify(None, as_json=False) == Exit.FAILED  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == [
        "FAULT I3 a: was published but is missing",
        "FAULT I9 b: counts",
        "FAULT I3 c: belongs to no plan",
        f"I3 promises: {Invariant.WRITTEN_ONCE.promise}",
        f"I3 what to do: {Invariant.WRITTEN_ONCE.action}",
        f"I9 promises: {Invariant.SUMS_AGREE.promise}",
        f"I9 what to do: {Invariant.SUMS_AGREE.action}",
    ]


def test_verify_explains_broken_invariants_in_json(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """By code."""
    report.fault(Invariant.WHOLE_LOGS, "a", "a hole")
    command.verify(None, as_json=True)  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out) == {
        "faults": [{"invariant": "I2", "key": "a", "what": "a hole"}],
        "notes": [],
        "checked": {},
        "invariants": {"I2": {"promise": Invariant.WHOLE_LOGS.promise, "action": Invariant.WHOLE_LOGS.action}},
    }


def test_verify_prints_that_every_invariant_holds(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """With the numbers of what it checked."""
    report.count("objects", 3)
    assert command.verify(None, as_json=False) == Exit.OK  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == ["checked: 3 objects", "every invariant holds"]

"""The floor of `make coverage`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.branches import FLOOR, main


@pytest.mark.parametrize(("covered", "code"), [(94, 1), (95, 0), (100, 0)])
def test_branches_fails_below_the_floor(
    covered: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names the files that lack most."""
    report = tmp_path / "coverage.json"
    files = {"full.py": {"summary": {"missing_branches": 0}}, "a.py": {"summary": {"missing_branches": 100 - covered}}}
    report.write_text(json.dumps({"totals": {"covered_branches": covered, "num_branches": 100}, "files": files}))
    monkeypatch.setattr("sys.argv", ["branches", str(report)])
    assert main() == code
    said = capsys.readouterr().out
    assert f"{covered}.0 % of the branches are covered; the floor is {FLOOR:.0f} %" in said
    assert ("a.py: " in said) == (covered < 100)
    assert "full.py" not in said

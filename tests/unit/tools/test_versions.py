"""Versions of a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.versions import faults, lowest, main


def _repository(root: Path, *, version: str, chart: str, section: str) -> Path:
    (root / "deploy/helm/vortex").mkdir(parents=True)
    (root / "pyproject.toml").write_text(
        f'[project]\nversion = "{version}"\ndependencies = ["a>=1.2", "b[c]>=3; x"]\n'
        '[project.optional-dependencies]\nloader = ["e>=5"]\notlp = ["d>=4.1"]\ndev = ["f>=6"]\n'
    )
    (root / "deploy/helm/vortex/Chart.yaml").write_text(f"version: {chart}\nappVersion: {chart}\n")
    (root / "CHANGELOG.md").write_text(f"## [{section}] - 2026-01-01\n")
    return root


def test_versions_accepts_a_tag_when_all_places_agree(tmp_path: Path) -> None:
    assert faults("v1.2.3", _repository(tmp_path, version="1.2.3", chart="1.2.3", section="1.2.3")) == []


def test_versions_names_each_place_when_the_tag_differs(tmp_path: Path) -> None:
    found = faults("v2.0.0", _repository(tmp_path, version="1.0.0", chart="1.1.0", section="1.0.0"))
    assert [line.split(":")[0] for line in found] == [
        "pyproject.toml",
        "deploy/helm/vortex/Chart.yaml",
        "deploy/helm/vortex/Chart.yaml",
        "CHANGELOG.md has no section [2.0.0]",
    ]


def test_versions_refuses_a_tag_while_changes_are_of_no_version(tmp_path: Path) -> None:
    root = _repository(tmp_path, version="1.2.3", chart="1.2.3", section="1.2.3")
    changes = root / "CHANGELOG.md"
    changes.write_text("## [Unreleased]\n\n" + changes.read_text())
    assert faults("v1.2.3", root) == []
    changes.write_text(
        "## [Unreleased]\n\n### Fixed\n\n- One.\n- Two,\n  in two lines.\n\n## [1.2.3] - 2026-01-01\n\n- Old.\n"
    )
    assert faults("v1.2.3", root) == ["CHANGELOG.md: [Unreleased] has entries (2); a release has them under [1.2.3]"]


def test_versions_lowest_gives_a_constraint_for_each_dependency(tmp_path: Path) -> None:
    assert lowest(_repository(tmp_path, version="1", chart="1", section="1")) == ["a==1.2", "b==3", "d==4.1", "e==5"]


def test_versions_lowest_reads_this_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lowest"]) == 0
    assert "aiobotocore==" in capsys.readouterr().out

"""A rename that replaces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.adapters.disk.rename import rename_exclusively


def test_rename_exclusively_replaces_nothing(tmp_path: Path) -> None:
    """A missing source is an error."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        rename_exclusively(tmp_path / "a", tmp_path / "b")
    rename_exclusively(tmp_path / "a", tmp_path / "c é")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c é": "a"}
    with pytest.raises(FileNotFoundError):
        rename_exclusively(tmp_path / "a", tmp_path / "d")

"""A settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.required import REQUIRED


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with only the required settings."""
    path = tmp_path / "v.toml"
    path.write_text(REQUIRED)
    return path

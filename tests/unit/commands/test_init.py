"""`vortex init`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from vortex.cli import main
from vortex.exits import Exit


def test_init_does_not_overwrite_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    runner = CliRunner()
    assert runner.invoke(main, ["init", str(path)]).exit_code == Exit.OK
    written = path.read_text()
    assert "[source]" in written
    again = runner.invoke(main, ["init", str(path)])
    assert again.exit_code == Exit.USAGE
    assert "already exists" in again.output
    assert path.read_text() == written

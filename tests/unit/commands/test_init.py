"""`vortex init`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from vortex.cli import main
from vortex.config.example import SCHEMA_FILE, schema
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


def test_init_writes_the_schema_beside_the_settings_that_name_it(tmp_path: Path) -> None:
    """In the first line, where editors look."""
    path = tmp_path / "v.toml"
    assert CliRunner().invoke(main, ["init", str(path)]).exit_code == Exit.OK
    first = path.read_text().splitlines()[0]
    assert (tmp_path / first.removeprefix("#:schema ./")).read_text() == schema()


def test_init_schema_replaces_the_schema_and_leaves_the_settings_alone(tmp_path: Path) -> None:
    """After an upgrade."""
    path, beside = tmp_path / "v.toml", tmp_path / SCHEMA_FILE
    path.write_text("mine")
    beside.write_text("old")
    assert CliRunner().invoke(main, ["init", "--schema", str(path)]).exit_code == Exit.OK
    assert (path.read_text(), beside.read_text()) == ("mine", schema())

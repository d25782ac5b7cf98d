"""The command line: codes and messages."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from vortex import __version__
from vortex.adapters.logs import JsonFormatter, TextFormatter
from vortex.cli import main
from vortex.config.example import example
from vortex.exits import Exit


def test_init_writes_once(tmp_path: Path) -> None:
    """An existing file is left alone."""
    path = tmp_path / "v.toml"
    runner = CliRunner()
    assert runner.invoke(main, ["init", str(path)]).exit_code == Exit.OK
    written = path.read_text()
    assert "[source]" in written
    again = runner.invoke(main, ["init", str(path)])
    assert again.exit_code == Exit.USAGE
    assert "already exists" in again.output
    assert path.read_text() == written


def test_version() -> None:
    """The version, alone."""
    assert CliRunner().invoke(main, ["version"]).output.strip() == __version__


@pytest.mark.parametrize("command", ["check", "status", "run"])
def test_no_region_is_a_setting_that_lacks(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is named, by its key and its variable."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    path = tmp_path / "v.toml"
    path.write_text(example())
    usual = signal.getsignal(signal.SIGTERM)
    outcome = CliRunner().invoke(main, [command, "-c", str(path)])
    signal.signal(signal.SIGTERM, usual)
    assert outcome.exit_code == Exit.CONFIG
    assert "source.region (or VORTEX_SOURCE__REGION, or AWS_REGION): no AWS region is set" in outcome.output


def test_stopped_while_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM before anything has begun ends it well."""
    usual = signal.getsignal(signal.SIGTERM)

    def loading(config: Path | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr("vortex.cli._settings", loading)
    try:
        assert CliRunner().invoke(main, ["run"]).exit_code == Exit.OK
    finally:
        signal.signal(signal.SIGTERM, usual)


@pytest.mark.parametrize("command", ["run", "check", "status", "verify"])
def test_wrong_settings_have_their_own_code(command: str, tmp_path: Path) -> None:
    """And the file is named."""
    path = tmp_path / "v.toml"
    path.write_text("[sorce]\n")
    done = CliRunner().invoke(main, [command, "-c", str(path)])
    assert done.exit_code == Exit.CONFIG
    assert "did you mean 'source'?" in done.output


def test_an_unknown_command_is_a_usage_error() -> None:
    """Click's own code."""
    assert CliRunner().invoke(main, ["fly"]).exit_code == Exit.USAGE


def record(message: str) -> logging.LogRecord:
    """A log record."""
    return logging.LogRecord("vortex.x", logging.WARNING, "f", 1, message, (), None)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_message_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    """Control characters are escaped, whoever sent them."""
    line = formatter.format(record("name\r\nforged\x1b[31m\u2028"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "forged" in line


def test_json_lines_are_json() -> None:
    """With the level, and a time in UTC."""
    line = json.loads(JsonFormatter().format(record('say "hé"')))
    assert line["message"] == 'say "hé"'
    assert line["level"] == "warning"
    assert line["time"].endswith("Z")

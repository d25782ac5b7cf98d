"""The command line: exit codes and messages."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vortex import __version__
from vortex.adapters.logs import JsonFormatter, TextFormatter
from vortex.cli import main
from vortex.config.example import example
from vortex.exits import Exit
from vortex_loader.cli import main as loader


def test_version_prints_the_version_only() -> None:
    assert CliRunner().invoke(main, ["version"]).output.strip() == __version__


def test_version_option_prints_the_version_only() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"{__version__}\n"


def test_commands_take_the_settings_file_of_the_folder_when_nothing_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-c` goes before VORTEX_CONFIG, and that before ./vortex.toml."""
    monkeypatch.chdir(tmp_path)
    for name in ("vortex", "of_environment", "of_option"):
        Path(f"{name}.toml").write_text(f"[{name}]\n")

    def message(*options: str) -> str:
        return CliRunner().invoke(main, ["status", *options]).output

    assert "vortex.toml: vortex: unknown section" in message()
    monkeypatch.setenv("VORTEX_CONFIG", "of_environment.toml")
    assert "of_environment.toml: of_environment: unknown section" in message()
    assert "of_option.toml: of_option: unknown section" in message("-c", "of_option.toml")


def test_commands_say_how_to_begin_when_there_is_no_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["check"])
    assert done.exit_code == Exit.CONFIG
    assert done.output.splitlines()[-1].startswith("no settings file: there is no -c, no VORTEX_CONFIG and no ./vortex")
    assert "`vortex init` writes one" in done.output


@pytest.mark.parametrize("command", sorted(set(main.commands) - {"version"}))
def test_help_of_a_command_shows_examples(command: str) -> None:
    assert f"Examples:\n    vortex {command}" in CliRunner().invoke(main, [command, "-h"]).output


@pytest.mark.parametrize("command", ["check", "status", "run"])
def test_commands_name_the_region_setting_when_no_region_is_set(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its key and its variables."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    path = tmp_path / "v.toml"
    path.write_text(example())
    outcome = CliRunner().invoke(main, [command, "-c", str(path)])
    assert outcome.exit_code == Exit.CONFIG
    assert "source.region (or VORTEX_SOURCE__REGION, or AWS_REGION): no AWS region is set" in outcome.output
    assert "settings: valid" not in outcome.output


def test_check_says_once_that_there_are_no_credentials_and_still_checks_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("VORTEX_STORE__URL", f"file://{tmp_path / 'out'}")
    path = tmp_path / "v.toml"
    path.write_text(example())
    outcome = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert outcome.exit_code == Exit.FAILED
    assert outcome.output.count("none found") == 1
    assert "ok   store put: " in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "FAIL AWS: the other checks were skipped, as there are no credentials"


@pytest.mark.parametrize("command", ["run", "check", "status", "verify"])
def test_commands_exit_with_the_config_code_when_settings_are_wrong(command: str, tmp_path: Path) -> None:
    """The message suggests the right name."""
    path = tmp_path / "v.toml"
    path.write_text("[sorce]\n")
    done = CliRunner().invoke(main, [command, "-c", str(path)])
    assert done.exit_code == Exit.CONFIG
    assert "did you mean 'source'?" in done.output


def test_an_unknown_command_exits_with_the_usage_code() -> None:
    assert CliRunner().invoke(main, ["fly"]).exit_code == Exit.USAGE


def record(message: str) -> logging.LogRecord:
    """A log record."""
    return logging.LogRecord("vortex.x", logging.WARNING, "f", 1, message, (), None)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_log_formatters_escape_control_characters(formatter: logging.Formatter) -> None:
    """So a message cannot forge a log line."""
    line = formatter.format(record("name\r\nforged\x1b[31m\u2028"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "forged" in line


def test_json_formatter_writes_message_and_level_and_utc_time() -> None:
    line = json.loads(JsonFormatter().format(record('say "hé"')))
    assert line["message"] == 'say "hé"'
    assert line["level"] == "warning"
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("command", [["status"], ["verify"], ["explain", "acme", "1"], ["rejects", "summary"]])
def test_commands_say_once_that_there_are_no_credentials(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that nothing must be started again, for the command has ended."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("VORTEX_STORE__URL", "s3://bucket/prefix")
    path = tmp_path / "v.toml"
    path.write_text(example())
    outcome = CliRunner().invoke(main, [*command, "-c", str(path)])
    assert outcome.exit_code == Exit.UNREACHABLE
    assert outcome.output.count("none found") == 1
    assert "a worker that runs needs no restart" in outcome.output


def test_help_has_a_whole_sentence_for_each_command_and_a_text_for_each_option() -> None:
    """Of both programs, on a terminal of 80 columns."""
    for program, name in ((main, "vortex"), (loader, "vortex-loader")):
        for path, command in _below(program, (name,)):
            shown = CliRunner().invoke(program, [*path[1:], "-h"], terminal_width=80).output
            assert not re.search(r"[a-z][.]{3}", shown), f"{' '.join(path)}: a sentence is cut\n{shown}"
            for option in command.params:
                if isinstance(option, click.Option) and not option.hidden:
                    assert option.help, f"{' '.join(path)}: {option.name} has no help"


def _below(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from _below(one, (*path, name))

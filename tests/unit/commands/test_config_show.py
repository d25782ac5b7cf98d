"""`vortex config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vortex.cli import main
from vortex.config.example import example

FILE = """
[source]
stream = "s"
[event]
customer = ["a.b", "c"]
type = "t"
id = "id"
time = "at"
[store]
url = "file:///data/x"
[memory]
limit = "512M"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, and a variable that wins over it."""
    path = tmp_path / "v.toml"
    path.write_text(FILE)
    monkeypatch.setenv("VORTEX_COMMIT__EVERY", "5s")
    monkeypatch.setenv("VORTEX_SOURCE__STREAM", "other")
    return path


def test_show_says_where_each_setting_comes_from(config: Path) -> None:
    rows = json.loads(CliRunner().invoke(main, ["config", "show", "-c", str(config), "--json"]).output)
    found = {row["key"]: (row["value"], row["from"]) for row in rows}
    assert found["event.customer"] == ('["a.b", "c"]', str(config))
    assert found["memory.limit"] == ('"512MB"', str(config))
    assert found["commit.every"] == ('"5s"', "VORTEX_COMMIT__EVERY")
    assert found["source.stream"] == ('"other"', "VORTEX_SOURCE__STREAM")
    assert found["dedup.window"] == ('"1h"', "default")
    assert found["store.region"] == ("not set", "default")


def test_show_prints_toml_and_with_changed_only_what_is_set(config: Path) -> None:
    whole = CliRunner().invoke(main, ["config", "show", "-c", str(config)]).output
    assert '[dedup]\nwindow = "1h" ' in whole
    assert "# region is not set" in whole
    changed = CliRunner().invoke(main, ["config", "show", "-c", str(config), "--changed"]).output
    assert [line.partition(" ")[0] for line in changed.splitlines()] == [
        "[source]",
        "stream",
        "[event]",
        *("customer", "type", "id", "time"),
        "[store]",
        "url",
        "[commit]",
        "every",
        "[memory]",
        "limit",
    ]


def test_show_with_changed_only_leaves_out_defaults_that_a_file_has(config: Path) -> None:
    """The file of `vortex init` has them all."""
    config.write_text(example())
    rows = json.loads(CliRunner().invoke(main, ["config", "show", "-c", str(config), "--changed", "--json"]).output)
    assert {row["key"] for row in rows} == {
        *("source.stream", "store.url", "commit.every"),
        *(f"event.{key}" for key in ("customer", "type", "id", "time")),
    }


def test_show_hides_secrets(config: Path) -> None:
    config.write_text(
        FILE.replace('stream = "s"', 'stream = "s"\nendpoint_url = "http://host/secret_key=abcdefgh1234"')
    )
    output = CliRunner().invoke(main, ["config", "show", "-c", str(config)]).output
    assert "abcdefgh1234" not in output
    assert "[hidden]" in output

"""`vortex plan`."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from click.testing import CliRunner

from vortex.cli import main
from vortex.exits import Exit

_ASK = ["plan", "--events-per-second", "50000", "--shards", "100", "--customers", "300", "--types", "20"]


def test_plan_prints_processes_memory_settings_and_the_price_within_80_columns() -> None:
    result = CliRunner().invoke(main, _ASK)
    assert result.exit_code == Exit.OK
    for part in ("Processes:", "Memory:", 'mode = "dynamodb"', "lease heartbeats", "in all"):
        assert part in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_plan_rounds_memory_up_as_the_chart_does_and_gives_small_figures_a_unit_that_shows_them() -> None:
    output = CliRunner().invoke(main, _ASK).output
    memory = json.loads(CliRunner().invoke(main, [*_ASK, "--json"]).output)["memory"]
    assert f"Memory:     {math.ceil(memory / 2**20):,} MiB for each process\n" in output
    small = CliRunner().invoke(main, ["plan", "--events-per-second", "20", "--shards", "1"]).output
    assert "CPU:        under 1% of a core\n" in small
    assert "Start:      reads up to 2 MB of ids before it publishes, 0.0 s of CPU\n" in small


def test_plan_prints_what_copies_take_on_disk() -> None:
    """50,000 events of 1 KB a second bring 3 GB in five minutes."""
    assert "\nDisk:       up to 3.0 GB for each process, for copies while it publishes\n" in (
        CliRunner().invoke(main, _ASK).output
    )
    none = CliRunner().invoke(main, ["plan", "--events-per-second", "0", "--shards", "1"]).output
    assert "\nDisk:       none: copies of segments fit into memory\n" in none


def test_plan_prints_the_same_as_json_when_asked() -> None:
    result = CliRunner().invoke(main, [*_ASK, "--json"])
    found = json.loads(result.output)
    assert found["processes"] >= 2
    assert found["settings"]["coordination"] == {"mode": "dynamodb"}
    assert found["excluded"]
    assert abs(found["dollars"] - sum(cost["dollars"] for cost in found["costs"])) < 0.01


def test_plan_prints_a_window_and_a_period_that_are_not_the_default_among_the_settings() -> None:
    """A person pastes them. What is said of the bill stands below it."""
    output = CliRunner().invoke(main, [*_ASK, "--window", "24h", "--period", "10m"]).output
    block = output[output.index("Settings:") : output.index("Values of")]
    assert '  [dedup]\n  window = "1d"\n' in block
    assert '  [publish]\n  period = "10m"\n' in block
    assert "window" not in CliRunner().invoke(main, _ASK).output.split("Values of")[0]
    text = " ".join(output.split())
    for part in ("Not in the sum: the stream, compute", "KMS", "one event in a record", "GB of ids", "gzip to 15%"):
        assert part in text


def test_plan_prints_values_of_the_chart_that_hold_each_setting() -> None:
    """In YAML, for a file of values."""
    result = CliRunner().invoke(main, [*_ASK, "--window", "24h"])
    block = result.output.split("Values of the Helm chart:\n")[1].split("\n\n")[0]
    printed = json.loads(CliRunner().invoke(main, [*_ASK, "--window", "24h", "--json"]).output)
    assert yaml.safe_load(block) == {
        "replicas": printed["processes"],
        "shardsPerProcess": printed["shards_each"],
        "settings": printed["settings"],
    }


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--window", "soon", "invalid duration"),
        ("--period", "0s", "must divide an hour"),
        ("--period", "7m", "must divide an hour"),
        ("--events-per-second", "nan", "no number of events"),
        ("--events-per-second", "-1", "not in the range"),
        ("--shards", "0", "not in the range"),
        ("--shards", "1", "1 shard cannot take 50.0 MB a second: each takes 1 MiB; 48 are needed"),
        ("--bytes", "10485761", "Kinesis takes records of at most 10,485,760 bytes"),
        ("--window", "100y", "365 days at most"),
        ("--window", "366d", "365 days at most"),
        ("--customers", "1" + 400 * "0", "not in the range"),
    ],
)
def test_plan_names_the_option_when_a_value_is_wrong(option: str, text: str, said: str) -> None:
    """By the rules of the setting, where it is one."""
    result = CliRunner().invoke(main, [*_ASK, option, text])
    assert result.exit_code == Exit.USAGE
    assert option in result.output
    assert said in result.output

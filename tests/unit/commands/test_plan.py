"""`vortex plan`."""

from __future__ import annotations

import json

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


def test_plan_prints_the_same_as_json_when_asked() -> None:
    result = CliRunner().invoke(main, [*_ASK, "--json"])
    found = json.loads(result.output)
    assert found["processes"] >= 2
    assert abs(found["dollars"] - sum(cost["dollars"] for cost in found["costs"])) < 0.01


def test_plan_names_the_option_when_a_duration_is_wrong() -> None:
    result = CliRunner().invoke(main, [*_ASK, "--window", "soon"])
    assert result.exit_code == Exit.USAGE
    assert "--window" in result.output

"""What a new user does: the demo, the README's configuration and queries, the shipped files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.harness import Site, event_of, make_stream
from tests.kill import main as kill
from vortex.adapters.dynamodb.calls import METHODS
from vortex.config.loading import load

pytestmark = pytest.mark.acceptance
REPOSITORY = Path(__file__).parents[2]


def block(document: str, language: str, holding: str) -> str:
    """The code block of a document that is in a language and contains a text."""
    text = (REPOSITORY / document).read_text("utf-8")
    return next(b for b in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if holding in b)


def test_demo_counts_add_up_and_the_documented_query_counts_the_same_rows(tmp_path: Path) -> None:
    """The DuckDB query of docs/reading.md reads the files that the demo kept."""
    folder = tmp_path / "kept"
    command = [sys.executable, "-m", "vortex", "demo", "--events", "3000", "--keep", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"produced (\d+) = published (\d+) \+ duplicates (\d+) \+ rejected (\d+)", done.stdout)
    assert found, done.stdout
    produced, published, duplicates, rejected = map(int, found.groups())
    assert produced == published + duplicates + rejected == 3000
    assert min(published, duplicates, rejected) > 0
    assert "closed hours" in done.stdout
    assert list(folder.glob("_hours/*/*/manifest.json"))
    rows = duckdb.execute(block("docs/reading.md", "sql", "read_ndjson_objects").replace("DIR", str(folder))).fetchall()
    assert sum(row[2] for row in rows) == published
    loading = re.search(
        r"produced 3000 = loaded (\d+) \+ duplicates (\d+) \+ rejected (\d+) \+ not in .* (\d+)", done.stdout
    )
    assert loading, done.stdout
    loaded, *others, left = map(int, loading.groups())
    assert (others, loaded + left) == ([duplicates, rejected], published)
    assert min(loaded, left) > 0
    with duckdb.connect(f"{folder}.duckdb", read_only=True) as warehouse:
        tables = warehouse.sql(
            "SELECT schema, name FROM (SHOW ALL TABLES) WHERE name NOT LIKE '\\_%' ESCAPE '\\'"
        ).fetchall()
        counted = [
            warehouse.sql(f'SELECT count(*) FROM "{schema}"."{name}"').fetchall()[0][0] for schema, name in tables
        ]
    assert sum(counted) == loaded
    assert ("acme", "orders") in tables
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 1
    assert "is not empty" in again.stdout


def test_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    path.write_text(block("README.md", "toml", "[source]"))
    assert load(path, {}).source.stream == "clickstream"


def test_shipped_policy_and_example_are_valid() -> None:
    """The policy allows deletion only below Vortex's own state; the example is Python."""
    dags = REPOSITORY / "examples/airflow/vortex_loader_dags.py"
    compile(dags.read_text(), dags.name, "exec")
    policy = json.loads((REPOSITORY / "deploy/iam/fleet.json").read_text())
    delete = [s for s in policy["Statement"] if "s3:DeleteObject" in s["Action"]]
    assert [s["Resource"] for s in delete] == ["arn:aws:s3:::BUCKET/PREFIX/_vortex/*"]
    (leases,) = [s for s in policy["Statement"] if s["Sid"] == "ShareShardsByLeases"]
    assert set(leases["Action"]) == {f"dynamodb:{operation}" for operation in METHODS}


@pytest.mark.parametrize("store", ["disk", "s3"])
def test_worker_killed_at_random_moments_publishes_each_event_once(store: str) -> None:
    """A few rounds of `python -m tests.kill`."""
    assert kill(["--rounds", "5", "--store", store, "--seed", "11"]) == 0


def test_commands_report_the_state_of_a_live_stream(moto_url: str, tmp_path: Path) -> None:
    """`check`, `status`, `close` and `verify`, with JSON output."""
    kinesis = make_stream(moto_url, "commands", 2)
    site = Site(moto_url, "commands", (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    checked = site.call("check", "--json")
    assert checked.returncode == 0, checked.stdout
    assert all(line["ok"] for line in json.loads(checked.stdout))
    assert site.call("status").returncode == 1
    for n in range(20):
        kinesis.put_record(StreamName="commands", PartitionKey=str(n), Data=event_of(f"id-{n}"))
    site.drain()
    status = json.loads(site.call("status", "--json").stdout)
    assert [row["state"] for row in status["shards"]] == ["open", "open"]
    assert status["last_plan_state"] == "done"
    assert status["holder"] in {row["shard"] for row in status["shards"]}
    closed = site.call("close", "--before", status["shards"][0]["closed_before"], "--json")
    assert (closed.returncode, json.loads(closed.stdout)) == (0, [])
    ahead = site.call("close", "--before", "2999-01-01T00:00:00Z")
    assert ahead.returncode == 2
    assert "is in the future" in ahead.stderr
    assert (
        "unknown shard nobody; open shards are"
        in site.call("close", "--before", "2020-01-01", "--shard", "nobody").stderr
    )
    victim = next(path for path in (tmp_path / "out").rglob("customer=*/**/*.gz"))
    victim.write_bytes(victim.read_bytes() + b"x")
    verified = site.call("verify", "--json")
    assert verified.returncode == 1
    assert victim.name in json.loads(verified.stdout)["faults"][0]["key"]

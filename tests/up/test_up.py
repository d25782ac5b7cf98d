"""`make up` and `make down`: the whole story on this machine, until an hour is in Postgres. `make test-up` runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from psycopg import sql

from tests.harness import until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".tools/up"


def local(command: str) -> subprocess.CompletedProcess[str]:
    """What `make up`, `make down` call."""
    return subprocess.run(
        [sys.executable, "-m", "tools.local", command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@contextmanager
def everything_up() -> Iterator[dict[str, Any]]:
    """The kept state; whatever happens, all is down at the end."""
    if local("status").returncode == 0:
        pytest.skip("it is up already, for somebody else: make down")
    local("down")
    done = local("up")
    try:
        assert done.returncode == 0, done.stderr + done.stdout
        yield json.loads((FOLDER / "state.json").read_text())
    finally:
        ended = local("down")
    assert ended.returncode == 0, ended.stdout


def get(url: str) -> Any:
    """The JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.loads(reply.read())


def manifests(url: str) -> list[dict[str, Any]]:
    """The manifests of the closed hours."""
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    listed = s3.list_objects_v2(Bucket="vortex", Prefix="clickstream/_hours/").get("Contents", [])
    return [json.loads(s3.get_object(Bucket="vortex", Key=row["Key"])["Body"].read()) for row in listed]


def loaded(address: str) -> tuple[int, int]:
    """Rows that the audit tables say, and rows that the tables have."""
    with psycopg.connect(address) as warehouse:
        named = (
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema !~ '^(pg_|information)'"
        )
        tables = warehouse.execute(named).fetchall()
        said = held = 0
        for schema, name in tables:
            place = sql.Identifier(schema, name)
            if name == "_loads":
                row = warehouse.execute(sql.SQL("SELECT sum(row_count) FROM {}").format(place)).fetchone()
                said += int(row[0] or 0) if row else 0
            elif not name.startswith("_"):
                row = warehouse.execute(sql.SQL("SELECT count(*) FROM {}").format(place)).fetchone()
                held += int(row[0]) if row else 0
        return said, held


def test_up_loads_an_hour_and_down_ends_every_process() -> None:
    with everything_up() as state:
        processes = {one["name"]: one["pid"] for one in state["processes"]}
        again = local("up")
        assert again.returncode == 0 and "is up already" in again.stdout
        assert json.loads((FOLDER / "state.json").read_text()) == state
        addresses = state["addresses"]

        # Each event is in one file: the hour's own sum, and every row of it in Postgres.
        until(lambda: any(loaded(addresses["warehouse"])), 180)
        hours = manifests(addresses["Kinesis and S3"])
        rows = sum(hour["totals"]["rows"] for hour in hours)
        until(lambda: loaded(addresses["warehouse"]) == (rows, rows), 60)
        assert rows > 100
        for hour in hours:
            counts = hour["counts"]
            assert counts["events"] == counts["accepted"] + counts["filtered"] + counts["rejected"]
            assert counts["accepted"] == counts["published"] + counts["dropped"]
            assert counts["published"] == hour["totals"]["rows"]

        # Both workers have shards, and see each other.
        shown = [get(f"{addresses[f'worker {number}']}status.json") for number in (1, 2)]
        assert all(one["ready"] for one in shown), shown
        _check_prometheus(addresses["Prometheus"])
        _check_commands()

        # A process that dies is said, by name.
        os.kill(processes["loader"], signal.SIGKILL)
        until(lambda: local("status").returncode == 1)
        assert re.search(r"^loader \(process \d+\) has died: see .*loader\.log$", local("up").stderr, re.MULTILINE)
    assert not (FOLDER / "state.json").exists()
    for name, pid in processes.items():
        assert not runs(pid), name


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(told) and not told.startswith("Z")


def _check_commands() -> None:
    """The variables that `up` writes are enough for the programs."""
    programs = f"{sys.executable} -m vortex status && {sys.executable} -m vortex_loader query"
    asked = f". {FOLDER}/variables.sh && {programs} 'SELECT count(*) FROM acme._loads'"
    done = subprocess.run(["sh", "-c", asked], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "stream clickstream: " in done.stdout


def _check_prometheus(address: str) -> None:
    if not address.startswith("http"):
        return  # not installed: the address says so
    base = address.removesuffix("/")

    def up() -> bool:
        targets = get(f"{base}/api/v1/targets")["data"]["activeTargets"]
        return len(targets) == 3 and {target["health"] for target in targets} == {"up"}

    until(up)
    rules = [rule for group in get(f"{base}/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    assert len(rules) >= 18

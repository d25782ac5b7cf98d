"""Real events, each put three times over four shards: `python -m tests.real_input FILE.ndjson`.

Drains into two stores: with the default lateness (old events are late and go to the hour of arrival), and with a large
one (each event goes to its own hour). Counts with DuckDB; ids are taken from `id`, times from `created_at`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import duckdb

from tests.harness import Site, check_manifests, make_stream
from tests.servers import CREDENTIALS, moto_server


def main(path: str) -> int:
    """0 when both stores hold each event once, unchanged, in the right partition."""
    os.environ.update(CREDENTIALS)
    events = [line for line in Path(path).read_bytes().split(b"\n") if line]
    with moto_server() as url, tempfile.TemporaryDirectory(prefix="vortex-real-") as folder:
        kinesis = make_stream(url, "real", 4)
        for _ in range(3):
            for event in events:
                kinesis.put_record(StreamName="real", Data=event, PartitionKey=json.loads(event)["id"])
        for lateness in ("1m", "20y"):
            site = Site(url, "real", (Path(folder) / lateness).as_uri(), Path(folder) / f"{lateness}.toml")
            site.configure(lateness=lateness, period="5m", every="30s")
            check(site, events, own_hours=lateness == "20y")
    return 0


def check(site: Site, events: list[bytes], *, own_hours: bool) -> None:
    """Drain, and compare the store with what was put."""
    site.drain()
    lines = site.lines()
    assert sorted(line for _, line in lines) == sorted(events), "each once, bytes unchanged"
    hours = set()
    for folder, line in lines:
        at = json.loads(line)["created_at"]
        hours.add(f"date={at[:10]}/hour={at[11:13]}")
        assert folder.endswith(f"date={at[:10]}/hour={at[11:13]}") == own_hours, folder
    verified = site.call("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    root = site.store.removeprefix("file://")
    query = f"""
        SELECT count(*), count(DISTINCT id), count(DISTINCT customer)
        FROM read_json('{root}/customer=*/*/*/*/*.gz', hive_partitioning = true, union_by_name = true)"""
    (counted,) = duckdb.execute(query).fetchall()
    closed = check_manifests(site)
    assert counted[:2] == (len(events), len(events)), counted
    if own_hours:
        assert closed == len(hours), f"{closed} manifests for {len(hours)} hours with events"
    print(
        f"{site.config.stem}: {len(lines)} lines of {3 * len(events)} records; DuckDB {counted}; {closed} hours closed"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

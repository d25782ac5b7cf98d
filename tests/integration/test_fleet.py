"""Several workers of one fleet as real processes: emulated Kinesis, a DynamoDB with atomic conditional writes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from collections import Counter
from pathlib import Path
from random import Random
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.harness import Producer, Site, check_exactly_once, client, event_of, make_stream, stopped, until
from tests.servers import free_port
from vortex.exits import Exit

pytestmark = pytest.mark.integration


@pytest.fixture
def site(moto_url: str, dynamodb_url: str, tmp_path: Path) -> Site:
    """A stream of six shards, a store on disk, leases in a table that does not exist yet."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    make_stream(moto_url, name, 6)
    made = Site(moto_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    made.configure()
    text = made.config.read_text().replace("port = 0", f"port = {free_port()}").replace('"warning"', '"info"')
    made.config.write_text(
        f'{text}\n[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb_url}"\nfailover = "3s"\n'
    )
    return made


def children(log: Path) -> dict[int, int]:
    """The last process of each worker, from the supervisor's log."""
    return {int(n): int(pid) for n, pid in re.findall(r"worker (\d+): process (\d+)", log.read_text())}


def get(site: Site, path: str) -> tuple[int, str]:
    """Status and text; status 0 without an answer."""
    port = re.search(r"port = (\d+)", site.config.read_text())
    assert port
    try:
        with urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def status(site: Site) -> dict[str, object]:
    """`vortex status --json`."""
    done = site.call("status", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def metric(page: str, name: str) -> float:
    """The value of a series."""
    found = re.search(rf"^{re.escape(name)}{{[^}}]*}} ([0-9.e+]+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_run_with_processes_shares_shards_and_port_and_restarts_a_killed_worker(site: Site, tmp_path: Path) -> None:
    """SIGTERM ends all processes; every id is published once."""
    log = tmp_path / "log"
    producer = Producer(site, Random(1))
    producer.start()
    with log.open("wb") as file:
        running = subprocess.Popen(site.command("run", "--processes", "3"), stdout=file, stderr=file)
    with stopped(running):
        until(lambda: get(site, "/readyz")[0] == 200)
        until(lambda: len({row["owner"] for row in status(site)["shards"]} - {""}) == 3)  # type: ignore[attr-defined]
        until(lambda: get(site, "/metrics")[1].count('vortex_shard_lag_seconds{shard="') == 6)
        shown = json.loads(get(site, "/status.json")[1])
        assert [len(shown[name]) for name in ("shards", "workers")] == [6, 3]
        assert {worker for _, worker, _ in shown["shards"]} == {worker for worker, _, _ in shown["workers"]}
        assert all(lag is not None for _, _, lag in shown["shards"])
        assert metric(get(site, "/metrics")[1], "vortex_process_restarts_total") == 0
        before = children(log)
        os.kill(before[1], signal.SIGKILL)
        until(lambda: children(log)[1] != before[1])
        until(lambda: get(site, "/readyz")[0] == 200)
        until(lambda: len({row["owner"] for row in status(site)["shards"]} - {""}) == 3)  # type: ignore[attr-defined]
        assert metric(get(site, "/metrics")[1], "vortex_process_restarts_total") == 1
        assert get(site, "/livez")[0] == 200
        sent = producer.finish()
        until(lambda: metric(get(site, "/metrics")[1], "vortex_objects_published_total") > 0)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == Exit.OK, log.read_text()
    for pid in children(log).values():
        assert not Path(f"/proc/{pid}").exists()
    rows = client("dynamodb", _endpoint(site)).scan(TableName=f"vortex-{site.stream}")["Items"]
    assert len(rows) == 6
    assert not any("leaseOwner" in row for row in rows), "all leases were released"
    site.drain()
    assert check_exactly_once(site, sent) > 0
    verified = site.call("verify")
    assert verified.returncode == 0, verified.stdout


def test_drain_closes_what_arrived_while_no_worker_ran_and_the_fleet_goes_on(site: Site, tmp_path: Path) -> None:
    """A fleet that scales to zero: a job empties the stream meanwhile, and each id is published once."""
    kinesis, sent = client("kinesis", site.kinesis), Counter[str]()

    def put(first: int) -> None:
        for n in range(first, first + 30):
            kinesis.put_record(StreamName=site.stream, PartitionKey=str(n % 7), Data=event_of(f"id-{n}"))
            sent[f"id-{n}"] += 1

    def work() -> None:
        worker = site.start(tmp_path / "log")
        with stopped(worker):
            until(lambda: get(site, "/readyz")[0] == 200)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == Exit.OK, (tmp_path / "log").read_text()

    put(0)
    work()
    put(20)  # ten of them again
    site.drain()
    assert {line.decode() for _, line in site.lines()} == {event_of(name).decode() for name in sent}
    put(40)
    work()
    site.drain()
    assert check_exactly_once(site, sent) == 70
    assert site.call("verify").returncode == 0


def test_workers_stop_when_their_supervisor_is_killed(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        running = subprocess.Popen(site.command("run", "--processes", "2"), stdout=file, stderr=file)
    with stopped(running):
        until(lambda: get(site, "/readyz")[0] == 200)
        pids = children(log).values()
        running.kill()
        running.wait()
        until(lambda: not any(_runs(pid) for pid in pids), 30)


def test_run_with_processes_exits_with_the_config_code_without_coordination(moto_url: str, tmp_path: Path) -> None:
    """The message names the setting."""
    site = Site(moto_url, "none", (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    done = site.call("run", "--processes", "2")
    assert done.returncode == Exit.CONFIG
    assert 'coordination.mode = "dynamodb"' in done.stderr
    assert site.call("run", "--processes", "none").returncode == Exit.USAGE
    assert site.call("run", "--processes", "2", "--drain").returncode == Exit.USAGE


def _endpoint(site: Site) -> str:
    found = re.search(r'\[coordination\].*?endpoint_url = "([^"]+)"', site.config.read_text(), re.DOTALL)
    assert found
    return found[1]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

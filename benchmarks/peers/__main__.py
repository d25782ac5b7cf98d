"""`python -m benchmarks.peers`: Vortex beside a program on the Kinesis Client Library, on the same servers, in one run.

Both read the same stream to its tip and write gzip files by customer, event type and hour. The operating system
reports their CPU time and peak memory. Then each is killed twice with SIGKILL while it reads, and started again: how
many events are missing at the end, and how many are there twice. Leases of the library are in ministack's DynamoDB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from benchmarks import network
from benchmarks.arguments import positive, stopped_by_hand
from benchmarks.pages import PAGE_RECORDS
from benchmarks.peers.kcl import Kcl, NoJava, require_java
from benchmarks.processes import ROOT, Failed, Server, Usage, environment, server, stay_on_one
from benchmarks.run import Bench
from benchmarks.wire import CBOR
from benchmarks.workload import WORKLOADS, Workload
from tests.servers import NoMinistack, ministack

_SELDOM_S, _OFTEN_S = 30, 3
"""Seconds between flushes: few for the CPU; more where a kill is to come after one."""
_FAILOVER_S, _SOON_S = 10, 3
"""The library's default, so that no lease is lost on a busy machine; and less where a dead worker holds leases."""
_SHORTER = 4
"""So many times fewer events are in a first run: the difference to the whole run shows CPU when all is warm."""
_KILLS = 2
_SLOW_RECORDS = 200
"""Records a page while processes are killed, five calls a second a shard: reading takes long enough."""
_READ_S = 600
"""Within which a program that is to be killed has read enough."""
ROWS = {
    "us_event": "CPU an event, start-up left out (µs)",
    "us_warm": "of the last three quarters of the events (µs)",
    "start_s": "CPU of the start-up (s)",
    "peak_mib": "peak memory (MiB)",
    "kib": "objects (KiB)",
    "puts": "PUT requests",
    "put_kib": "bytes of all PUT requests (KiB)",
    "wall_s": "whole run (s)",
}


class Peers(Bench):
    """Runs of both programs."""

    def __init__(self, *arguments: Any, kcl: Kcl, leases: str) -> None:
        super().__init__(*arguments)
        self._kcl, self._leases = kcl, leases
        self._kill_after: tuple[Server, int] | None = None

    def spent(self, name: str) -> dict[str, Any]:
        """CPU, memory and bytes of both for a workload, start-up left out of the CPU."""
        workload = WORKLOADS[name]
        runs: dict[str, Callable[[Server, str], Usage]] = {"Vortex": self._worker, "KCL": self._library}
        count = self._events(workload)
        self._say("start-up of both")
        with self._replay(WORKLOADS["empty"], 0) as kinesis:
            idle = {peer: run(kinesis, self._bucket()) for peer, run in runs.items()}
        short = self._read(workload, count // _SHORTER, runs)
        long = self._read(workload, count, runs)
        return {
            peer: {
                "us_event": (usage.cpu_s - idle[peer].cpu_s) / events * 1e6,
                "us_warm": (usage.cpu_s - short[peer][0].cpu_s) / (events - short[peer][2]) * 1e6,
                "start_s": idle[peer].cpu_s,
                "peak_mib": usage.peak_rss / 2**20,
                "kib": wrote["bytes"] / 1024,
                "puts": wrote["puts"],
                "put_kib": wrote["put_bytes"] / 1024,
                "wall_s": usage.wall_s,
            }
            for peer, (usage, wrote, events) in long.items()
        }

    def _read(
        self, workload: Workload, count: int, runs: dict[str, Callable[[Server, str], Usage]]
    ) -> dict[str, tuple[Usage, dict[str, int], int]]:
        """What each took, what it wrote, and how many events it read. Raises Failed unless it wrote all of them."""
        found = {}
        self._say(f"laying out {count:,} events ({workload.title})")
        with self._replay(workload, count) as kinesis:
            for peer, run in runs.items():
                self._store.ask("clear")
                bucket, before = self._bucket(), kinesis.ask("stats").get(CBOR.content, 0)
                usage = run(kinesis, bucket)
                if kinesis.ask("stats").get(CBOR.content, 0) == before:
                    raise Failed(f"{peer} did not speak CBOR, which costs it less than JSON")
                self._say(f"{peer}: {usage.cpu_s:.1f} s of CPU in {usage.wall_s:.0f} s")
                found[peer] = usage, self._checked(bucket, kinesis.facts), int(kinesis.facts["events"])
        return found

    def killed(self, count: int) -> dict[str, Any]:
        """Events that are missing and that are there twice, after `_KILLS` kills while `count` are read."""
        found = {}
        for peer, run in {"Vortex": self._worker, "KCL": self._often}.items():
            self._say(f"{peer}: killed {_KILLS} times while it reads {count:,} events")
            self._store.ask("clear")
            bucket = self._bucket()
            arguments = [*self._stream(WORKLOADS["a"], count), f"--page-records={_SLOW_RECORDS}", "--limits"]
            with server("benchmarks.replay_server", *arguments) as origin, self._network.to(origin) as kinesis:
                for _ in range(_KILLS):
                    self._kill_after = kinesis, kinesis.ask("stats").get("records", 0) + count // (_KILLS + 1)
                    run(kinesis, bucket)
                self._kill_after = None
                run(kinesis, bucket)
                there = Counter(self._ids(bucket))
                found[peer] = {
                    "missing": kinesis.facts["unique"] - len(there),
                    "twice": sum(there.values()) - len(there),
                }
        return found

    def _library(self, kinesis: Server, bucket: str, flush_s: int = _SELDOM_S, failover_s: int = _FAILOVER_S) -> Usage:
        command = self._kcl.command(
            kinesis=kinesis.url,
            store=self._store.url,
            leases=self._leases,
            bucket=bucket,
            shards=kinesis.facts["shards"],
            level=self._options.level,
            flush_s=flush_s,
            failover_s=failover_s,
        )
        return self._spent(command, bucket)

    def _often(self, kinesis: Server, bucket: str) -> Usage:
        return self._library(kinesis, bucket, _OFTEN_S, _SOON_S)

    def _spent(self, command: list[str], bucket: str, **ends: Any) -> Usage:
        """As of `Bench`; while `_kill_after` is set, the process is killed when so many records were read."""
        if self._kill_after is None:
            return super()._spent(command, bucket, **ends)
        kinesis, records = self._kill_after
        with (self._folder / f"{bucket}.log").open("wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=environment(self._network.environment),
                cwd=ROOT,
            )
            try:
                end = time.monotonic() + _READ_S
                while kinesis.ask("stats").get("records", 0) < records:
                    if process.poll() is not None:
                        raise Failed(f"{bucket}: the program ended before it was to be killed")
                    if time.monotonic() > end:
                        raise Failed(f"{bucket}: the program read too little within {_READ_S} s")
                    time.sleep(0.1)  # another program: there is nothing to await
            finally:
                process.kill()
                process.wait()
        return Usage(0.0, 0.0, 0.0, 0)

    def _ids(self, bucket: str) -> list[str]:
        client = boto3.client(
            "s3",
            endpoint_url=self._store.plain,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            config=Config(s3={"addressing_style": "path"}),
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="customer=")
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        bodies = (client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)
        return [json.loads(line)["messageId"] for body in bodies for line in gzip.decompress(body).splitlines()]


def table(spent: dict[str, Any], killed: dict[str, Any]) -> Table:
    """All figures, and the ratios."""
    shown = Table("", *spent, "KCL / Vortex")
    for key, what in ROWS.items():
        values = [row[key] for row in spent.values()]
        shown.add_row(what, *(f"{value:,.1f}" for value in values), f"{values[1] / values[0]:.1f}")
    for key, what in {"missing": "events missing after kills", "twice": "events twice after kills"}.items():
        shown.add_row(what, *(f"{row[key]:,}" for row in killed.values()), "")
    return shown


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="a", choices=("a", "b", "d"))
    parser.add_argument("--events", type=positive, help="events of the run; default: the workload's")
    parser.add_argument("--killed-events", type=positive, default=128_000, help="events of the run with kills")
    parser.add_argument(
        "--level", type=int, default=6, choices=range(1, 10), help="the peer's level of gzip; default: 6, as in Java"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one-processor", action="store_true", help="keep all to one processor: they take turns")
    network.add_options(parser)
    parser.set_defaults(page_records=PAGE_RECORDS, repeat=1, least=False, set=[])
    return parser.parse_args()


def main() -> None:
    """Print a table; with Java or Maven missing, one line that says so."""
    chosen, progress, console = _options(), Console(stderr=True), Console()
    if chosen.one_processor and not stay_on_one():
        sys.exit("--one-processor: this system does not let a program choose its processors")
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-peers-")))
            line = network.chosen(chosen, folder)
            require_java()
            progress.print("building the peer with Maven")
            kcl, leases = Kcl.built(folder, line.environment), stack.enter_context(ministack())
            store = stack.enter_context(line.to(stack.enter_context(server("benchmarks.store_server"))))
            bench = Peers(folder, store, line, chosen, progress.print, kcl=kcl, leases=leases)
            progress.print(f"over {line}")
            console.print(table(bench.spent(chosen.workload), bench.killed(chosen.killed_events)))
    except (NoJava, NoMinistack) as problem:
        progress.print(f"skipped: {problem}", highlight=False)
    except Failed as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    stopped_by_hand(main)

"""`python -m benchmarks.run`: Vortex, the straightforward consumer and the floor on the same streams, in one run.

Every consumer is a separate process. The operating system reports its CPU time (user and system, all threads) and peak
memory when it has ended. Servers are further processes. A figure counts only if the bucket holds exactly the lines of
the stream, each as often as it should.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any

from rich.console import Console

from benchmarks import network
from benchmarks.arguments import stopped_by_hand
from benchmarks.network import Network
from benchmarks.options import GROUPS, options
from benchmarks.pages import STREAM
from benchmarks.processes import Failed, Server, Usage, measured, processors, server, stay_on_one
from benchmarks.report import CaughtUp, Consumed, Idle, Measured, Published, Results, Scaled
from benchmarks.store_client import forget_published
from benchmarks.tables import tables
from benchmarks.workload import WORKLOADS, Workload, recent_start
from tests.servers import ministack

_IDLE_S = (12.0, 42.0)
"""An idle stream is read for a short and for a long while; the difference is what idling costs."""
_PUBLISHED_EVENTS = 400_000
"""Unless an option says otherwise: the objects are what publishing is about."""
_LEAST_REPEATS = 3
"""Of publishing, which is the difference of two short runs."""
_WIDTH = 136
CONFIG = """
[source]
stream = "{stream}"
region = "us-east-1"
endpoint_url = "{kinesis}"

[event]
customer = "context.app.namespace"
type = ["event", "type"]
id = "messageId"
time = ["timestamp", "receivedAt"]

[store]
url = "s3://{bucket}"
region = "us-east-1"
endpoint_url = "{store}"

[http]
port = 0
"""


class Bench:
    """One run: a folder for configurations and logs, a store, and the options."""

    def __init__(
        self, folder: Path, store: Server, line: Network, options: argparse.Namespace, say: Callable[[str], None]
    ) -> None:
        self._folder, self._store, self._network, self._options, self._say = folder, store, line, options, say
        self._runs = 0
        self._now_ms = int(time.time() * 1000)
        self._starting: dict[str, Usage] = {}

    def consumed(self, name: str) -> Measured:
        """A workload, read by both consumers and packed by the floor."""
        workload = WORKLOADS[name]
        count = self._events(workload)
        self._say(f"{name}: {count:,} events ({workload.title})")
        with self._replay(workload, count) as kinesis:
            facts = kinesis.facts
            worker = self._best(kinesis, self._worker, facts)
            baseline = self._best(kinesis, self._baseline, facts)
            idle = {kind: self._start_up(kind) for kind in ("worker", "baseline")}
        return Measured(
            name=name,
            title=workload.title,
            events=facts["events"],
            unique=facts["unique"],
            line_bytes=facts["line_bytes"],
            records=facts["records"],
            pages=facts["pages"],
            worker=Consumed(worker[0], idle["worker"], worker[1]),
            baseline=Consumed(baseline[0], idle["baseline"], baseline[1]),
            floor_s=self._floor(workload, count),
        )

    def published(self, name: str) -> Published:
        """A workload's log, and one with a tenth of its events, published."""
        count = _PUBLISHED_EVENTS if self._options.events is None else self._options.events
        return replace(self._published(name, count), fewer=self._published(name, max(1, count // 10)))

    def _published(self, name: str, count: int) -> Published:
        """A workload's log, published anew by workers that have nothing to read, and found published by as many."""
        workload = WORKLOADS[name]
        self._say(f"publishing {name}: {count:,} events ({workload.title})")
        publishing, nothing = [], []
        with self._replay(workload, count) as kinesis:
            bucket = self._bucket()
            self._worker(kinesis, bucket)
            for _ in range(max(_LEAST_REPEATS, self._options.repeat)):
                forget_published(self._store.plain, bucket)
                if self._store.ask(f"rows/{bucket}/customer=")["rows"]:
                    raise Failed(f"{bucket}: what was published is still there")
                publishing.append(self._worker(kinesis, bucket))
                wrote = self._checked(bucket, kinesis.facts)
                nothing.append(self._worker(kinesis, bucket))
            self._store.ask("clear")
        return Published(name, workload.title, kinesis.facts["events"], wrote, publishing, nothing)

    def caught_up(self, name: str) -> CaughtUp:
        """A backlog, read to its tip by Vortex alone: the others would hold all of it in memory."""
        workload = WORKLOADS[name]
        count = self._events(workload)
        self._say(f"{name}: {count:,} events ({workload.title})")
        idle = self._start_up("worker")
        with self._replay(workload, count) as kinesis:
            bucket = self._bucket()
            usage = self._worker(kinesis, bucket)
            facts = kinesis.ask("facts")
            wrote = self._checked(bucket, facts)
            self._store.ask("clear")
        return CaughtUp(name, workload.title, facts["events"], facts["line_bytes"], Consumed(usage, idle, wrote))

    def scaled(self, name: str) -> Scaled:
        """A backlog, read by one process and by two that share its shards by leases."""
        workload = WORKLOADS[name]
        count = self._events(workload)
        self._say(f"{name}: {count:,} events ({workload.title})")
        runs, wrote = [], {}
        for processes in (1, 2):
            with self._replay(workload, count) as kinesis, ministack() as leases:
                bucket = self._bucket()
                runs.append(self._fleet(kinesis, bucket, leases, processes, count))
                wrote = self._checked(bucket, kinesis.ask("facts"))
                self._store.ask("clear")
        return Scaled(name, workload.title, count, runs[0], runs[1], wrote["put_bytes"])

    def idle(self, name: str) -> Idle:
        """Shards without events, polled."""
        workload = WORKLOADS[name]
        self._say(f"{name}: {workload.title}, {sum(_IDLE_S):.0f} seconds")
        spent, polls, wrote = [], [], {}
        for seconds in _IDLE_S:
            with self._replay(workload, 0) as kinesis:
                usage = self._worker(kinesis, self._bucket(), stop_after_s=seconds)
                polls.append(kinesis.ask("stats").get("GetRecords", 0))
                wrote = self._store.ask("stats")
                self._store.ask("clear")
                spent.append(usage)
        return Idle(
            name=name,
            title=workload.title,
            seconds=spent[1].wall_s - spent[0].wall_s,
            cpu_s=spent[1].cpu_s - spent[0].cpu_s,
            polls=polls[1] - polls[0],
            puts=wrote.get("PUT", 0),
            put_bytes=wrote.get("PUT bytes", 0),
            usage=spent[1],
        )

    def dedup(self) -> dict[str, Any]:
        """The figures of `benchmarks.dedup`."""
        self._say("dedup: the filter, and deciding on a plan")
        log = self._folder / "dedup.log"
        measured([sys.executable, "-m", "benchmarks.dedup"], log)
        figures: dict[str, Any] = json.loads(log.read_text())
        return figures

    def _events(self, workload: Workload) -> int:
        return workload.events if self._options.events is None else int(self._options.events)

    def _best(
        self, kinesis: Server, consumer: Callable[[Server, str], Usage], facts: dict[str, Any]
    ) -> tuple[Usage, dict[str, int]]:
        """The run that counts, and what it wrote; each run is checked."""
        outcomes = []
        for _ in range(self._options.repeat):
            bucket = self._bucket()
            usage = consumer(kinesis, bucket)
            outcomes.append((usage, self._checked(bucket, facts)))
            self._store.ask("clear")
        chosen = self._counts([usage.cpu_s for usage, _ in outcomes])
        return next(outcome for outcome in outcomes if outcome[0].cpu_s == chosen)

    def _counts(self, spent: list[float]) -> float:
        return min(spent) if self._options.least else median_low(spent)

    def _start_up(self, kind: str) -> Usage:
        """What a consumer takes to read an empty stream to its end; measured for all workloads together."""
        if kind not in self._starting:
            consumer, runs = self._worker if kind == "worker" else self._baseline, []
            with self._replay(WORKLOADS["empty"], 0) as kinesis:
                for _ in range(self._options.repeat):
                    runs.append(consumer(kinesis, self._bucket()))
                    self._store.ask("clear")
            chosen = self._counts([usage.cpu_s for usage in runs])
            self._starting[kind] = next(usage for usage in runs if usage.cpu_s == chosen)
        return self._starting[kind]

    @contextmanager
    def _replay(self, workload: Workload, count: int) -> Iterator[Server]:
        arguments = [*self._stream(workload, count), f"--page-records={self._options.page_records}"]
        with server("benchmarks.replay_server", *arguments) as origin, self._network.to(origin) as kinesis:
            yield kinesis

    def _stream(self, workload: Workload, count: int) -> list[str]:
        return [
            f"--workload={workload.name}",
            f"--events={count}",
            f"--seed={self._options.seed}",
            f"--start-ms={recent_start(self._now_ms, workload.span_ms)}",
        ]

    def _bucket(self) -> str:
        self._runs += 1
        return f"run-{self._runs}"

    def _worker(self, kinesis: Server, bucket: str, stop_after_s: float | None = None) -> Usage:
        config = self._folder / f"{bucket}.toml"
        config.write_text(
            CONFIG.format(stream=STREAM, kinesis=kinesis.url, store=self._store.url, bucket=bucket)
            + settings_text(self._options.set)
        )
        command = [sys.executable, "-m", "vortex", "run", "-c", str(config)]
        if stop_after_s is None:
            command.append("--drain")
        return self._spent(command, bucket, stop_after_s=stop_after_s)

    def _fleet(self, kinesis: Server, bucket: str, leases: str, processes: int, count: int) -> Usage:
        """Until all is published; with little lateness, so that the last period does not wait for the clock."""
        config = self._folder / f"{bucket}.toml"
        shared = ["coordination.mode=dynamodb", f"coordination.endpoint_url={leases}", "coordination.region=us-east-1"]
        config.write_text(
            CONFIG.format(stream=STREAM, kinesis=kinesis.url, store=self._store.url, bucket=bucket)
            + settings_text([*shared, "hours.allowed_lateness=1s", *self._options.set])
        )

        def published() -> bool:
            if kinesis.ask("stats").get("records", 0) < count:
                return False
            time.sleep(2)  # counting is the store's work, and takes a core from the workers
            return bool(self._store.ask(f"rows/{bucket}/customer=")["rows"] >= count)

        command = [sys.executable, "-m", "vortex", "run", "-c", str(config), "--processes", str(processes)]
        return self._spent(command, bucket, stop_when=published)

    def _baseline(self, kinesis: Server, bucket: str) -> Usage:
        command = [sys.executable, "-m", "benchmarks.baseline", f"--kinesis={kinesis.url}"]
        command += [f"--store={self._store.url}", f"--bucket={bucket}"]
        return self._spent(command, bucket)

    def _spent(self, command: list[str], bucket: str, **ends: Any) -> Usage:
        return measured(command, self._folder / f"{bucket}.log", extra=self._network.environment, **ends)

    def _floor(self, workload: Workload, count: int) -> float:
        log, spent = self._folder / "floor.log", []
        for _ in range(self._options.repeat):
            measured([sys.executable, "-m", "benchmarks.floor", *self._stream(workload, count)], log)
            spent.append(float(json.loads(log.read_text())["cpu_s"]))
        return self._counts(spent)

    def _checked(self, bucket: str, facts: dict[str, Any]) -> dict[str, int]:
        """What the bucket holds for readers. Raises Failed unless that is the stream without its duplicates."""
        held = self._store.ask(f"rows/{bucket}/customer=")
        rejected = self._store.ask(f"rows/{bucket}/_rejected/")["rows"]
        if rejected or held["rows"] != facts["unique"] or held["digest"] != facts["digest"]:
            raise Failed(
                f"{bucket} holds {held['rows']} rows and {rejected} rejections of {facts['unique']} distinct events"
                f"{'' if held['digest'] == facts['digest'] else ', and they are not the lines of the stream'}"
            )
        spent = self._store.ask("stats")
        held["puts"], held["put_bytes"] = spent.get("PUT", 0), spent.get("PUT bytes", 0)
        return {name: count for name, count in held.items() if name != "digest"}


def settings_text(pairs: list[str]) -> str:
    """`section.key=value` as TOML. Not for [source], [event], [store] and [http]: the caller has written these."""
    sections: dict[str, list[str]] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    return "".join(f"\n[{section}]\n" + "\n".join(rows) + "\n" for section, rows in sections.items())


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": processors(),
        "load_before": os.getloadavg()[0],
    }


def _measure(bench: Bench, workload: str, results: Results) -> None:
    if workload == "f":
        results.idle.append(bench.idle(workload))
    elif workload == "e":
        results.caught_up.append(bench.caught_up(workload))
    elif workload == "two":
        results.scaled.append(bench.scaled(workload))
    elif workload == "publish":
        results.published += [bench.published(each) for each in GROUPS[workload]]
    elif workload == "dedup":
        results.dedup = bench.dedup()
    else:
        results.consumed += [bench.consumed(each) for each in GROUPS[workload]]


def main() -> None:
    """Measure, print the table, write the JSON."""
    chosen, progress, console = options(__doc__), Console(stderr=True), Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    if chosen.one_processor and not stay_on_one():
        sys.exit("--one-processor: this system does not let a program choose its processors")
    machine, results = _machine(), Results()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-bench-")))
            line = network.chosen(chosen, folder)
            store = stack.enter_context(line.to(stack.enter_context(server("benchmarks.store_server"))))
            bench = Bench(folder, store, line, chosen, progress.print)
            progress.print(f"over {line}")
            for workload in chosen.workload:
                _measure(bench, workload, results)
    except Failed as problem:
        progress.print(f"[red]{problem}[/red]", highlight=False)
        sys.exit(1)
    document = results.document(
        machine=machine,
        network=str(line),
        page_records=chosen.page_records,
        settings=chosen.set,
        repeat=chosen.repeat,
        counts="least" if chosen.least else "median",
    )
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(document, indent=2) + "\n")
    for table in tables(results):
        console.print(table)
    progress.print(f"written to {chosen.json}")


if __name__ == "__main__":
    stopped_by_hand(main)

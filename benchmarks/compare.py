"""`python -m benchmarks.compare TREE TREE ...`: workers of several checkouts on one stream, in turn.

The noise of a machine is larger than the gain of most changes. So the checkouts run in turn, on one processor if the
system allows the choice, and only figures of one run are compared. Every output is compared with the stream. The steps
in C must have been built in each checkout. `--both` runs each checkout over TLS and over plain HTTP.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from benchmarks import network
from benchmarks.arguments import checkout, new_file, positive, setting, stopped_by_hand
from benchmarks.network import Network
from benchmarks.pages import PAGE_RECORDS, STREAM
from benchmarks.processes import Failed, Server, Usage, measured, server, stay_on_one
from benchmarks.run import CONFIG, settings_text
from benchmarks.workload import WORKLOADS, recent_start


@dataclass(frozen=True, slots=True)
class Way:
    """A checkout, and how its worker reaches the servers: the stream, an empty one, and the store."""

    tree: Path
    line: Network
    kinesis: Server
    empty: Server
    store: Server

    def __str__(self) -> str:
        return f"{self.tree}, {self.line}"


@dataclass(slots=True)
class Spent:
    """All runs of a way."""

    full: list[Usage] = field(default_factory=list)
    empty: list[Usage] = field(default_factory=list)
    put_bytes: int = 0

    def start_s(self) -> float:
        """CPU seconds of a worker on an empty stream."""
        return min(usage.cpu_s for usage in self.empty)

    def us(self, events: int) -> float:
        """The least CPU microseconds an event, without start-up."""
        return (min(usage.cpu_s for usage in self.full) - self.start_s()) / events * 1e6

    def document(self, events: int) -> dict[str, float]:
        """For JSON."""
        return {
            "us_per_event": self.us(events),
            "start_up_cpu_s": self.start_s(),
            "peak_rss_bytes": max(usage.peak_rss for usage in self.full),
            "put_bytes": self.put_bytes,
        }


def worker(way: Way, kinesis: Server, folder: Path, bucket: str, settings: list[str]) -> tuple[Usage, int]:
    """One run of the worker to the end of the stream, and the bytes that it put.

    Raises Failed, also for an output that is not the stream.
    """
    config = folder / f"{bucket}.toml"
    text = CONFIG.format(stream=STREAM, kinesis=kinesis.url, store=way.store.url, bucket=bucket)
    config.write_text(text + settings_text(settings))
    command = [sys.executable, "-m", "vortex", "run", "-c", str(config), "--drain"]
    usage = measured(command, folder / f"{bucket}.log", cwd=way.tree, extra=way.line.environment)
    held, facts = way.store.ask(f"rows/{bucket}/customer="), kinesis.ask("facts")
    put_bytes = way.store.ask("stats").get("PUT bytes", 0)
    way.store.ask("clear")
    if (held["rows"], held["digest"]) != (facts["unique"], facts["digest"]):
        raise Failed(f"{way}: what it wrote is not what the stream holds")
    return usage, put_bytes


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="+", type=checkout, help="a checkout")
    parser.add_argument("--workload", default="a", choices=sorted(set(WORKLOADS) - {"f", "two", "empty"}))
    parser.add_argument("--events", type=positive, default=400_000)
    parser.add_argument("--rounds", type=positive, default=4)
    parser.add_argument("--page-records", type=positive, default=PAGE_RECORDS)
    network.add_options(parser)
    parser.add_argument("--both", action="store_true", help="over TLS and over plain HTTP, in turn")
    parser.add_argument(
        "--set", type=setting, action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of Vortex"
    )
    parser.add_argument("--json", type=new_file, help="where the figures go, too")
    found = parser.parse_args()
    if found.both and not found.tls:
        parser.error("--both runs over TLS and over plain HTTP: leave --plain out")
    return found


def ways(chosen: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Way]:
    """What runs in turn, with its servers, which end with the stack."""
    workload = WORKLOADS[chosen.workload]
    start = recent_start(int(time.time() * 1000), workload.span_ms)
    stream = [f"--workload={chosen.workload}", f"--events={chosen.events}", f"--start-ms={start}"]
    empty = ["--workload=empty", "--events=0", f"--start-ms={start}"]
    origins = [
        stack.enter_context(server("benchmarks.replay_server", *stream, f"--page-records={chosen.page_records}")),
        stack.enter_context(server("benchmarks.replay_server", *empty)),
        stack.enter_context(server("benchmarks.store_server")),
    ]
    made = []
    for tls in (True, False) if chosen.both else (chosen.tls,):
        line = Network.made(folder, tls=tls, rtt_ms=chosen.rtt, rate=chosen.rate)
        kinesis, nothing, store = (stack.enter_context(line.to(origin)) for origin in origins)
        made += [Way(tree, line, kinesis, nothing, store) for tree in chosen.tree]
    return made


def in_turn(chosen: argparse.Namespace, folder: Path, stack: ExitStack, console: Console) -> dict[str, Spent]:
    """All runs by way; no way always runs first. Raises Failed."""
    spent: dict[str, Spent] = defaultdict(Spent)
    all_ways = ways(chosen, folder, stack)
    for tree in chosen.tree:
        measured([sys.executable, "-m", "compileall", "-q", "vortex"], folder / "log", cwd=tree)
    for number in range(chosen.rounds):
        for index in range(len(all_ways))[:: -1 if number % 2 else 1]:
            way, bucket = all_ways[index], f"run-{number}-{index}"
            row = spent[str(way)]
            row.empty.append(worker(way, way.empty, folder, f"{bucket}-empty", chosen.set)[0])
            usage, row.put_bytes = worker(way, way.kinesis, folder, bucket, chosen.set)
            row.full.append(usage)
            memory = f"{usage.peak_rss / 2**20:.0f} MiB"
            console.print(
                f"{way}: {usage.cpu_s:.2f} s, start-up {row.empty[-1].cpu_s:.2f} s, {memory}", highlight=False
            )
    return spent


def main() -> None:
    """Print each run as it ends, then all."""
    chosen, console = options(), Console()
    stay_on_one()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-bench-")))
        try:
            spent = in_turn(chosen, folder, stack, console)
        except Failed as problem:
            sys.exit(str(problem))
    events, first = chosen.events, next(iter(spent.values()))
    table = Table(title=f"CPU for {events:,} events of {chosen.workload}; us an event: the least, without start-up")
    for column in (
        "way",
        "us an event",
        "of the first",
        "CPU s: least",
        "mean",
        "most",
        "start-up",
        "peak MiB",
        "MB out",
    ):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, row in spent.items():
        seconds = [usage.cpu_s for usage in row.full]
        figures = [row.us(events), row.us(events) / first.us(events), min(seconds), mean(seconds), max(seconds)]
        memory = max(usage.peak_rss for usage in row.full) / 2**20
        texts = [f"{figure:.2f}" for figure in (*figures, row.start_s())]
        table.add_row(name, *texts, f"{memory:.0f}", f"{row.put_bytes / 1e6:.1f}")
    console.print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps({name: row.document(events) for name, row in spent.items()}, indent=2) + "\n")


if __name__ == "__main__":
    stopped_by_hand(main)

"""`python -m benchmarks.compare TREE TREE ...`: workers of several checkouts on one stream, in turn.

The noise of a machine is larger than the gain of most changes. So the checkouts run in turn, on one processor if the
system allows the choice, and only figures of one run are compared. Every output is compared with the stream. The steps
in C must have been built in each checkout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from benchmarks.pages import PAGE_RECORDS, STREAM
from benchmarks.processes import Failed, Server, Usage, measured, server, stay_on_one
from benchmarks.run import CONFIG, settings_text
from benchmarks.workload import WORKLOADS, recent_start


def worker(tree: Path, folder: Path, kinesis: Server, store: Server, bucket: str, settings: list[str]) -> Usage:
    """One run of the checkout's worker, to the end. Raises Failed, also for an output that is not the stream."""
    config = folder / f"{bucket}.toml"
    text = CONFIG.format(stream=STREAM, kinesis=kinesis.url, store=store.url, bucket=bucket)
    config.write_text(text + settings_text(settings))
    command = [sys.executable, "-m", "vortex", "run", "-c", str(config), "--drain"]
    usage = measured(command, folder / f"{bucket}.log", cwd=tree)
    held, facts = store.ask(f"rows/{bucket}/customer="), kinesis.ask("facts")
    store.ask("clear")
    if (held["rows"], held["digest"]) != (facts["unique"], facts["digest"]):
        raise Failed(f"{tree}: what it wrote is not what the stream holds")
    return usage


def main() -> None:
    """Print each run as it ends, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="+", type=lambda name: Path(name).resolve(), help="a checkout")
    parser.add_argument("--workload", default="a", choices=sorted(set(WORKLOADS) - {"f", "two", "empty"}))
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--page-records", type=int, default=PAGE_RECORDS)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of Vortex")
    chosen = parser.parse_args()
    stay_on_one()
    workload, console = WORKLOADS[chosen.workload], Console()
    start = recent_start(int(time.time() * 1000), workload.span_ms)
    stream = [f"--workload={chosen.workload}", f"--events={chosen.events}", f"--start-ms={start}"]
    spent: dict[Path, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="vortex-bench-") as name,
        server("benchmarks.store_server") as store,
        server("benchmarks.replay_server", *stream, f"--page-records={chosen.page_records}") as kinesis,
    ):
        for tree in chosen.tree:
            measured([sys.executable, "-m", "compileall", "-q", "vortex"], Path(name) / "log", cwd=tree)
        for number in range(chosen.rounds):
            for tree in chosen.tree[:: -1 if number % 2 else 1]:  # neither tree always runs first
                bucket = f"run-{number}-{chosen.tree.index(tree)}"
                try:
                    usage = worker(tree, Path(name), kinesis, store, bucket, chosen.set)
                except Failed as problem:
                    sys.exit(str(problem))
                spent[tree].append(usage.cpu_s)
                console.print(f"{tree}: {usage.cpu_s:.2f} s, {usage.peak_rss / 2**20:.0f} MiB", highlight=False)
    table = Table(title=f"CPU seconds for {chosen.events:,} events of {chosen.workload}, start-up included")
    for column in ("checkout", "least", "mean", "most"):
        table.add_column(column)
    for tree, seconds in spent.items():
        table.add_row(str(tree), *(f"{of(seconds):.2f}" for of in (min, mean, max)))
    console.print(table)


if __name__ == "__main__":
    main()

"""The command line of `benchmarks.run`, and its workloads by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import network
from benchmarks.arguments import positive, setting
from benchmarks.pages import PAGE_RECORDS
from benchmarks.processes import ROOT

GROUPS = {
    "a": ("a",),
    "b": ("b",),
    "c": ("c-ndjson", "c-kpl"),
    "d": ("d",),
    "e": ("e",),
    "f": ("f",),
    "g": ("g",),
    "publish": ("a", "b"),
    "two": ("two",),
    "dedup": (),
}
_SELDOM = {"e", "two"}
"""Take minutes, gigabytes, and (two) an emulator of DynamoDB: only when they are named."""


def options(description: str | None, arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workload",
        default=",".join(name for name in GROUPS if name not in _SELDOM),
        help="of a, b, c, d, e, f, publish, two, dedup; default: all but e and two, which take minutes and gigabytes",
    )
    parser.add_argument(
        "--events", type=positive, help="events a workload; default: 1,000,000 (publish: 400,000; e: 10 million)"
    )
    parser.add_argument(
        "--page-records",
        type=positive,
        default=PAGE_RECORDS,
        help="records a page, and at most 1 MiB for each 1,000, as a shard takes them in a second; default: what the "
        "worker asks for, nearly 4 MiB",
    )
    parser.add_argument(
        "--repeat", type=positive, default=1, help="runs of each; the one with the median CPU time counts"
    )
    parser.add_argument(
        "--least",
        action="store_true",
        help="of the runs the one with the least CPU time counts instead, for every consumer and the floor: what the "
        "work takes by itself, where others are at the machine now and then",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--one-processor",
        action="store_true",
        help="keep servers and consumers to one processor: slower, but they take turns, and disturb each other less",
    )
    network.add_options(parser)
    parser.add_argument(
        "--set", type=setting, action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of Vortex"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "out" / "bench.json", help="where the figures go")
    chosen = parser.parse_args(arguments)
    chosen.workload = [name.strip() for name in chosen.workload.split(",")]
    if unknown := set(chosen.workload) - set(GROUPS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if chosen.one_processor and "two" in chosen.workload:
        parser.error("--one-processor: workload two is about two")
    return chosen

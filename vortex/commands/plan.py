"""`vortex plan`: prints what a stream needs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict

from vortex.commands.printing import print_line
from vortex.commands.sizing import MIB, Load, Sizing, size
from vortex.exits import Exit


def plan(load: Load, as_json: bool) -> int:
    """Print the sizing of `load`."""
    sizing = size(load)
    if as_json:
        print_line(json.dumps({**asdict(sizing), "dollars": sizing.dollars}))
        return Exit.OK
    for line in lines(sizing):
        print_line(line)
    return Exit.OK


def lines(sizing: Sizing) -> list[str]:
    """For a person, within 80 columns."""
    several = sizing.processes > 1
    share = sizing.cores / sizing.processes
    return [
        f"Processes:  {sizing.processes:,}{', each' if several else ''} with one core",
        f"CPU:        {sizing.cores:.2f} cores of work: a core is busy for {share:.0%} of the time",
        f"Memory:     {sizing.memory // MIB:,} MiB for each process",
        f"Files:      {sizing.objects_hour:,.0f} an hour",
        "",
        "Settings:",
        "  [coordination]",
        f'  mode = "{"dynamodb" if several else "local"}"',
        "  [memory]",
        f'  limit = "{sizing.limit // MIB}MiB"{"  # run --processes N shares it out: N times that" if several else ""}',
        f'  keys = "{sizing.keys // MIB}MiB"',
        "",
        "Values of the Helm chart, with these settings:",
        f"  replicas: {sizing.processes}",
        f"  shardsPerProcess: {sizing.shards_each}",
        "",
        f"{'A month':<36}{'count':>18}{'$':>12}",
        *(f"  {cost.name:<34}{cost.count:>18,.0f}{cost.dollars:>12,.2f}" for cost in sizing.costs),
        f"  {'in all':<34}{'':>18}{sizing.dollars:>12,.2f}",
        f"  {'beside the stream itself':<34}{'':>18}{sizing.kinesis:>12,.2f}",
        "",
        *(part for line in sizing.warnings for part in textwrap.wrap(f"Note: {line}.", 80)),
        "CPU and memory go by docs/performance.md; prices are list prices of us-east-1.",
        "Then measure: shard lag near zero and CPU below a half are right.",
    ]

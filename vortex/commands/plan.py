"""`vortex plan`: prints what a stream needs."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict

import click

from vortex.commands.printing import print_line
from vortex.commands.sizing import COMPRESSED, Load, Sizing, impossible, size
from vortex.core.memory import MIB
from vortex.exits import Exit


def plan(load: Load, as_json: bool) -> int:
    """Print the sizing of `load`. Raises click.BadParameter if no stream can be like that."""
    if found := impossible(load):
        raise click.BadParameter(found[1], param_hint=found[0])
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
    cpu = f"{share:.0%}" if share >= 0.01 else "under 1%"
    return [
        f"Processes:  {sizing.processes:,}{', each' if several else ''} with one core",
        f"CPU:        {cpu} of a core{' for each process' if several else ''}",
        f"Memory:     {-(-sizing.memory // MIB):,} MiB{' for each process' if several else ''}",
        f"Files:      {sizing.objects_hour:,.0f} an hour",
        f"Start:      reads up to {_bytes(sizing.restart_bytes)} of ids before it publishes, "
        f"{_short(sizing.restart_cpu)} s of CPU",
        f"Disk:       {_disk(sizing.disk, several)}",
        "",
        "Settings:",
        *_settings(sizing),
        "",
        "Values of the Helm chart:",
        f"  replicas: {sizing.processes}",
        f"  shardsPerProcess: {sizing.shards_each}",
        "  settings:",
        *(f"    {name}: {{{_keys(values)}}}" for name, values in sizing.settings.items()),
        "",
        f"{'A month':<36}{'count':>18}{'$':>12}",
        *(f"  {cost.name:<34}{cost.count:>18,.0f}{cost.dollars:>12,.2f}" for cost in sizing.costs),
        f"  {'in all':<34}{'':>18}{sizing.dollars:>12,.2f}",
        "",
        *(part for line in [*_of_the_bill(sizing), *_notes(sizing)] for part in textwrap.wrap(line, 80)),
        "CPU and memory go by docs/performance.md; prices are list prices of us-east-1.",
        "Then measure: shard lag near zero and CPU below a half are right.",
    ]


def _disk(figure: float, several: bool) -> str:
    if not figure:
        return "none: copies of segments fit into memory"
    return f"up to {_bytes(figure)}{' for each process' if several else ''}, for copies while it publishes"


def _bytes(figure: float) -> str:
    return f"{_short(figure / 1e9)} GB" if figure >= 1e8 else f"{math.ceil(figure / 1e6)} MB"


def _short(figure: float) -> str:
    return f"{figure:,.{1 if figure < 10 else 0}f}"


def _settings(sizing: Sizing) -> list[str]:
    found = []
    for name, values in sizing.settings.items():
        found.append(f"  [{name}]")
        for key, value in values.items():
            shared = sizing.processes > 1 and (name, key) == ("memory", "limit")
            found.append(f'  {key} = "{value}"{"  # run --processes N shares it out: N times that" if shared else ""}')
    return found


def _keys(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in values.items())


def _of_the_bill(sizing: Sizing) -> list[str]:
    return [
        f"Not in the sum: {', '.join(sizing.excluded)}.",
        f"The stream: ${sizing.kinesis:,.2f} a month, for provisioned shards and one event in a record.",
        f"Objects: gzip to {COMPRESSED:.0%} of the lines is assumed. The row is paid again in each month that they are "
        "kept, and each month adds as much.",
    ]


def _notes(sizing: Sizing) -> list[str]:
    return [f"Note: {line}." for line in sizing.warnings]

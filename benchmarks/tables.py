"""The figures of a run as tables: ratios first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.report import CaughtUp, Idle, Measured, Published, Results, Scaled

_MIB = 2**20
_FIGURES = ("Vortex", "baseline")


def tables(results: Results) -> list[Table]:
    """The tables as text."""
    made = [_consumed(results.consumed)] if results.consumed else []
    made += [_published(results.published)] if results.published else []
    made += [_caught_up(results.caught_up)] if results.caught_up else []
    made += [_scaled(results.scaled)] if results.scaled else []
    made += [_idle(results.idle)] if results.idle else []
    made += [_dedup(results.dedup)] if results.dedup else []
    return made


def _consumed(rows: Sequence[Measured]) -> Table:
    table = Table(
        title="CPU an event, in microseconds (user and system), without start-up",
        caption="Pairs: Vortex / baseline. MB out: all that was put. Every output was compared with its stream.",
    )
    table.add_column("workload")
    for name in ("baseline / Vortex", "Vortex / floor", "Vortex", "baseline", "floor", "peak MiB", "MB out", "events"):
        table.add_column(name, justify="right", no_wrap=name in _FIGURES)
    table.add_column("objects", justify="right")
    for row in rows:
        ratios, events = row.ratios(), row.events
        table.add_row(
            f"{row.name}: {row.title}",
            f"{ratios['baseline_marginal']:.1f}",
            f"{ratios['floor_marginal']:.1f}",
            f"{row.worker.marginal_us(events):.1f}",
            f"{row.baseline.marginal_us(events):.1f}",
            f"{row.floor_us:.2f}",
            f"{row.worker.usage.peak_rss / _MIB:.0f} / {row.baseline.usage.peak_rss / _MIB:.0f}",
            f"{row.worker.mb_out:.1f} / {row.baseline.mb_out:.1f}",
            f"{events:,}",
            f"{row.worker.wrote['objects']:,}",
        )
    worker, baseline = rows[0].worker.start_up, rows[0].baseline.start_up
    memory = f"{worker.peak_rss / _MIB:.0f} / {baseline.peak_rss / _MIB:.0f}"
    table.add_section()
    table.add_row("start-up, CPU seconds", "", "", f"{worker.cpu_s:.2f}", f"{baseline.cpu_s:.2f}", "", memory)
    return table


def _published(rows: Sequence[Published]) -> Table:
    table = Table(
        title="Publishing by itself",
        caption="Marginal: what solves this run and one with a tenth of the events. Start-up is taken off.",
    )
    columns = ["workload", "ms an object, marginal", "us an event, marginal", "CPU s", "ms an object, all in"]
    columns += ["peak MiB", "MB out", "events", "objects"]
    for name in columns:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for each in rows:
        event, of_object = each.marginal
        table.add_row(
            f"{each.name}: {each.title}",
            f"{of_object * 1e3:.2f}",
            f"{event * 1e6:.2f}",
            f"{each.cpu_s:.2f}",
            f"{each.cpu_s / each.objects * 1e3:.2f}",
            f"{each.peak_rss / _MIB:.0f}",
            f"{each.wrote['bytes'] / 1e6:.1f}",
            f"{each.events:,}",
            f"{each.objects:,}",
        )
    return table


def _caught_up(rows: Sequence[CaughtUp]) -> Table:
    table = Table(title="Catching up", caption="Steady: the median of the second half of the run, the filter included.")
    for name in (
        "workload",
        "Vortex, us an event",
        "events a second",
        "MB/s",
        "steady / peak MiB",
        "MB out",
        "start-up, CPU s",
        "events",
        "objects",
    ):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for row in rows:
        usage = row.worker.usage
        table.add_row(
            f"{row.name}: {row.title}",
            f"{row.worker.marginal_us(row.events):.1f}",
            f"{row.events / usage.wall_s:,.0f}",
            f"{row.line_bytes / usage.wall_s / 1e6:.1f}",
            f"{usage.steady_rss / _MIB:.0f} / {usage.peak_rss / _MIB:.0f}",
            f"{row.worker.mb_out:.1f}",
            f"{row.worker.start_up.cpu_s:.2f}",
            f"{row.events:,}",
            f"{row.worker.wrote['objects']:,}",
        )
    return table


def _scaled(rows: Sequence[Scaled]) -> Table:
    table = Table(
        title="One process and two",
        caption="By CPU: what two free cores would give. By time: on this machine, whose cores the servers share.",
    )
    columns = ["workload", "two / one, by CPU", "by time", "CPU s, one and two", "seconds, one and two"]
    for name in [*columns, "peak MiB of a process", "MB out", "events"]:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for row in rows:
        figures = row.document()
        table.add_row(
            f"{row.name}: {row.title}",
            f"{figures['speed_up_by_cpu']:.2f}",
            f"{figures['speed_up_by_time']:.2f}",
            f"{row.one.cpu_s:.1f} / {row.two.cpu_s:.1f}",
            f"{row.one.wall_s:.0f} / {row.two.wall_s:.0f}",
            f"{row.one.peak_rss / _MIB:.0f} / {row.two.peak_rss / _MIB:.0f}",
            f"{row.put_bytes / 1e6:.1f}",
            f"{row.events:,}",
        )
    return table


def _idle(idle: Sequence[Idle]) -> Table:
    table = Table(title="Idle shards")
    for name in (
        "workload",
        "% of a core",
        "ms CPU a poll",
        "polls a second",
        "objects put",
        "steady / peak MiB",
        "MB out",
    ):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for each in idle:
        figures = each.document()
        table.add_row(
            f"{each.name}: {each.title}",
            f"{figures['core_share'] * 100:.1f}",
            f"{figures['ms_per_poll']:.2f}",
            f"{figures['polls_per_s']:.0f}",
            str(each.puts),
            f"{each.usage.steady_rss / _MIB:.0f} / {each.usage.peak_rss / _MIB:.0f}",
            f"{each.put_bytes / 1e6:.1f}",
        )
    return table


def _dedup(figures: dict[str, Any]) -> Table:
    held, decide, known = figures["held"], figures["decide"], figures["filter"]
    table = Table(title=f"Deduplication: {figures['rows']:,} rows against {held['keys']:,} published keys")
    columns = {
        "filter: bytes an id": f"{known['bytes_per_id']:.1f}",
        "CPU us, new": f"{known['us_new']:.2f}",
        "seen": f"{known['us_seen']:.2f}",
        "deciding: CPU us a row": f"{decide['us_per_row']:.2f}",
        "of it the walk": f"{figures['steps_us_per_row']['resolve']:.2f}",
        "s": f"{decide['s']:.2f}",
        "ranged GETs": str(figures["ranged_gets"]),
        "bytes a key": f"{held['bytes_per_key']:.1f}",
        "peak, MiB": f"{figures['peak_mib']:.0f}",
    }
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row(*columns.values())
    return table

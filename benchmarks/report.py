"""The figures as a table (ratios first) and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.processes import Usage

_MIB = 2**20
_FIGURES = ("Vortex", "baseline")


@dataclass(frozen=True, slots=True)
class Consumed:
    """One consumer on one workload: the run, the same on an empty stream, and what it wrote."""

    usage: Usage
    start_up: Usage
    wrote: dict[str, int]

    def all_in_us(self, events: int) -> float:
        """CPU microseconds an event, from the start of the process to its end."""
        return self.usage.cpu_s / events * 1e6

    def marginal_us(self, events: int) -> float:
        """The same without what an empty stream takes: start-up, imports, connections, shut-down."""
        return (self.usage.cpu_s - self.start_up.cpu_s) / events * 1e6

    def document(self, events: int) -> dict[str, Any]:
        """For JSON."""
        return {
            "us_per_event_all_in": self.all_in_us(events),
            "us_per_event_marginal": self.marginal_us(events),
            "cpu_user_s": self.usage.user_s,
            "cpu_system_s": self.usage.system_s,
            "wall_s": self.usage.wall_s,
            "peak_rss_bytes": self.usage.peak_rss,
            "steady_rss_bytes": self.usage.steady_rss,
            "start_up_cpu_s": self.start_up.cpu_s,
            "start_up_peak_rss_bytes": self.start_up.peak_rss,
            **self.wrote,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload. `floor_s` is the CPU time of compressing its distinct lines, and nothing else."""

    name: str
    title: str
    events: int
    unique: int
    line_bytes: int
    records: int
    pages: int
    worker: Consumed
    baseline: Consumed
    floor_s: float

    @property
    def floor_us(self) -> float:
        """Of an event read, as all figures are."""
        return self.floor_s / self.events * 1e6

    def ratios(self) -> dict[str, float]:
        """How many times cheaper than the straightforward consumer, and how many times dearer than the floor."""
        worker, baseline = self.worker, self.baseline
        return {
            "baseline_marginal": baseline.marginal_us(self.events) / worker.marginal_us(self.events),
            "baseline_all_in": baseline.all_in_us(self.events) / worker.all_in_us(self.events),
            "floor_marginal": worker.marginal_us(self.events) / self.floor_us,
        }


@dataclass(frozen=True, slots=True)
class Published:
    """A workload's log published, and the same start with nothing left to publish, as often; the medians count."""

    name: str
    title: str
    events: int
    objects: int
    publishing: Sequence[Usage]
    nothing: Sequence[Usage]

    @property
    def cpu_s(self) -> float:
        """What publishing takes by itself, manifests included."""
        return median(run.cpu_s for run in self.publishing) - self.start_up_s

    @property
    def start_up_s(self) -> float:
        """Of a worker that resumes the log and publishes nothing."""
        return median(run.cpu_s for run in self.nothing)

    @property
    def of_the_mark(self) -> float:
        """The share of what the mark allows: half a microsecond an event and two milliseconds an object."""
        return self.cpu_s / (self.events * 0.5e-6 + self.objects * 2e-3)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "events": self.events,
            "objects": self.objects,
            "cpu_s": self.cpu_s,
            "of_the_mark": self.of_the_mark,
            "start_up_cpu_s": self.start_up_s,
            "runs_cpu_s": [run.cpu_s for run in self.publishing],
            "peak_rss_bytes": max(run.peak_rss for run in self.publishing),
        }


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A backlog that Vortex read to its tip."""

    name: str
    title: str
    events: int
    line_bytes: int
    worker: Consumed

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "events": self.events,
            "line_bytes": self.line_bytes,
            "events_per_s": self.events / self.worker.usage.wall_s,
            **self.worker.document(self.events),
        }


@dataclass(frozen=True, slots=True)
class Scaled:
    """The same backlog, read by one process and by two; CPU and time of all processes of each."""

    name: str
    title: str
    events: int
    one: Usage
    two: Usage

    def document(self) -> dict[str, Any]:
        """For JSON. `speed_up_by_cpu`: what two free cores would give, which is twice but for what sharing costs."""
        return {
            "title": self.title,
            "events": self.events,
            "speed_up_by_cpu": 2 * self.one.cpu_s / self.two.cpu_s,
            "speed_up_by_time": self.one.wall_s / self.two.wall_s,
            "cpu_s": [self.one.cpu_s, self.two.cpu_s],
            "wall_s": [self.one.wall_s, self.two.wall_s],
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """Idle shards over `seconds`: CPU time and GetRecords calls; `puts` and `usage` are of the whole longer run."""

    name: str
    title: str
    seconds: float
    cpu_s: float
    polls: int
    puts: int
    usage: Usage

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "core_share": self.cpu_s / self.seconds,
            "ms_per_poll": self.cpu_s / max(1, self.polls) * 1e3,
            "polls_per_s": self.polls / self.seconds,
            "seconds": self.seconds,
            "puts": self.puts,
            "peak_rss_bytes": self.usage.peak_rss,
            "steady_rss_bytes": self.usage.steady_rss,
        }


@dataclass(slots=True)
class Results:
    """All that one run of the benchmark measured."""

    consumed: list[Measured] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    caught_up: list[CaughtUp] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    dedup: dict[str, Any] | None = None

    def document(self, **said: Any) -> dict[str, Any]:
        """Everything, for a machine to read."""
        return {
            **said,
            "workloads": {
                row.name: {
                    "title": row.title,
                    "ratios": row.ratios(),
                    "events": row.events,
                    "unique": row.unique,
                    "line_bytes": row.line_bytes,
                    "records": row.records,
                    "pages": row.pages,
                    "floor_us_per_event": row.floor_us,
                    "vortex": row.worker.document(row.events),
                    "baseline": row.baseline.document(row.events),
                }
                for row in self.consumed
            },
            "published": {each.name: each.document() for each in self.published},
            "caught_up": {each.name: each.document() for each in self.caught_up},
            "scaled": {each.name: each.document() for each in self.scaled},
            "idle": {each.name: each.document() for each in self.idle},
            "dedup": self.dedup,
        }

    def tables(self) -> list[Table]:
        """The tables as text."""
        made = [_consumed(self.consumed)] if self.consumed else []
        made += [_published(self.published)] if self.published else []
        made += [_caught_up(self.caught_up)] if self.caught_up else []
        made += [_scaled(self.scaled)] if self.scaled else []
        made += [_idle(self.idle)] if self.idle else []
        made += [_dedup(self.dedup)] if self.dedup else []
        return made


def _consumed(rows: Sequence[Measured]) -> Table:
    table = Table(
        title="CPU an event, in microseconds (user and system; in parentheses with start-up)",
        caption="Ratios are of the figures without start-up. Every output was compared with its stream, line by line.",
    )
    table.add_column("workload", no_wrap=True)
    for name in ("baseline / Vortex", "Vortex / floor", "Vortex", "baseline", "floor", "events", "objects", "peak MiB"):
        table.add_column(name, justify="right", no_wrap=name in _FIGURES)
    for row in rows:
        ratios, events = row.ratios(), row.events
        table.add_row(
            f"{row.name}: {row.title}",
            f"{ratios['baseline_marginal']:.1f} ({ratios['baseline_all_in']:.1f})",
            f"{ratios['floor_marginal']:.1f}",
            f"{row.worker.marginal_us(events):.1f} ({row.worker.all_in_us(events):.1f})",
            f"{row.baseline.marginal_us(events):.1f} ({row.baseline.all_in_us(events):.1f})",
            f"{row.floor_us:.2f}",
            f"{events:,}",
            f"{row.worker.wrote['objects']:,}",
            f"{row.worker.usage.peak_rss / _MIB:.0f} / {row.baseline.usage.peak_rss / _MIB:.0f}",
        )
    first = rows[0]
    table.add_section()
    table.add_row(
        "start-up, CPU seconds",
        "",
        "",
        f"{first.worker.start_up.cpu_s:.2f}",
        f"{first.baseline.start_up.cpu_s:.2f}",
        "",
        "",
        "",
        f"{first.worker.start_up.peak_rss / _MIB:.0f} / {first.baseline.start_up.peak_rss / _MIB:.0f}",
    )
    return table


def _published(rows: Sequence[Published]) -> Table:
    table = Table(
        title="Publishing by itself",
        caption="Of the mark: half a microsecond an event and two milliseconds an object. Start-up is taken off.",
    )
    columns = "workload", "of the mark, %", "CPU s", "us an event, all in", "ms an object, all in", "events", "objects"
    for name in columns:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for each in rows:
        table.add_row(
            f"{each.name}: {each.title}",
            f"{each.of_the_mark * 100:.0f}",
            f"{each.cpu_s:.2f}",
            f"{each.cpu_s / each.events * 1e6:.2f}",
            f"{each.cpu_s / each.objects * 1e3:.2f}",
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
        "events",
        "objects",
        "steady / peak MiB",
    ):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for row in rows:
        usage = row.worker.usage
        table.add_row(
            f"{row.name}: {row.title}",
            f"{row.worker.marginal_us(row.events):.1f} ({row.worker.all_in_us(row.events):.1f})",
            f"{row.events / usage.wall_s:,.0f}",
            f"{row.line_bytes / usage.wall_s / 1e6:.1f}",
            f"{row.events:,}",
            f"{row.worker.wrote['objects']:,}",
            f"{usage.steady_rss / _MIB:.0f} / {usage.peak_rss / _MIB:.0f}",
        )
    return table


def _scaled(rows: Sequence[Scaled]) -> Table:
    table = Table(
        title="One process and two",
        caption="By CPU: what two free cores would give. By time: on this machine, whose cores the servers share.",
    )
    for name in ("workload", "two / one, by CPU", "by time", "CPU s, one and two", "seconds, one and two", "events"):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for row in rows:
        figures = row.document()
        table.add_row(
            f"{row.name}: {row.title}",
            f"{figures['speed_up_by_cpu']:.2f}",
            f"{figures['speed_up_by_time']:.2f}",
            f"{row.one.cpu_s:.1f} / {row.two.cpu_s:.1f}",
            f"{row.one.wall_s:.0f} / {row.two.wall_s:.0f}",
            f"{row.events:,}",
        )
    return table


def _idle(idle: Sequence[Idle]) -> Table:
    table = Table(title="Idle shards")
    for name in ("workload", "% of a core", "ms CPU a poll", "polls a second", "objects put", "steady / peak MiB"):
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

"""The figures, as JSON too. `benchmarks.tables` shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.processes import Usage


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

    @property
    def mb_out(self) -> float:
        """All that it put into the store."""
        return self.wrote["put_bytes"] / 1e6

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
    """A workload's log published, and the same start with nothing left to publish, as often; the medians count.

    `fewer`: the same with fewer events, for nearly as many objects. The difference shows what an event costs; what is
    left is the cost of the objects themselves.
    """

    name: str
    title: str
    events: int
    wrote: dict[str, int]
    publishing: Sequence[Usage]
    nothing: Sequence[Usage]
    fewer: Published | None = None

    @property
    def objects(self) -> int:
        """How many were published."""
        return self.wrote["objects"]

    @property
    def peak_rss(self) -> int:
        """Of the worker, in bytes."""
        return max(run.peak_rss for run in self.publishing)

    @property
    def cpu_s(self) -> float:
        """What publishing takes by itself, manifests included."""
        return median(run.cpu_s for run in self.publishing) - self.start_up_s

    @property
    def start_up_s(self) -> float:
        """Of a worker that resumes the log and publishes nothing."""
        return median(run.cpu_s for run in self.nothing)

    @property
    def marginal(self) -> tuple[float, float]:
        """CPU seconds of an event, and of an object: what solves both runs. Not numbers without `fewer`."""
        if self.fewer is None:
            return math.nan, math.nan
        few = self.fewer
        det = self.events * few.objects - few.events * self.objects
        event = (self.cpu_s * few.objects - few.cpu_s * self.objects) / det
        return event, (self.events * few.cpu_s - few.events * self.cpu_s) / det

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "events": self.events,
            **self.wrote,
            "cpu_s": self.cpu_s,
            "cpu_s_of_an_event": self.marginal[0],
            "cpu_s_of_an_object": self.marginal[1],
            "start_up_cpu_s": self.start_up_s,
            "runs_cpu_s": [run.cpu_s for run in self.publishing],
            "peak_rss_bytes": self.peak_rss,
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
    put_bytes: int

    def document(self) -> dict[str, Any]:
        """For JSON. `speed_up_by_cpu`: what two free cores would give, which is twice but for what sharing costs."""
        return {
            "title": self.title,
            "events": self.events,
            "speed_up_by_cpu": 2 * self.one.cpu_s / self.two.cpu_s,
            "speed_up_by_time": self.one.wall_s / self.two.wall_s,
            "cpu_s": [self.one.cpu_s, self.two.cpu_s],
            "wall_s": [self.one.wall_s, self.two.wall_s],
            "peak_rss_bytes": [self.one.peak_rss, self.two.peak_rss],
            "put_bytes": self.put_bytes,
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """Idle shards over `seconds`: CPU time and GetRecords calls; puts and `usage` are of the whole longer run."""

    name: str
    title: str
    seconds: float
    cpu_s: float
    polls: int
    puts: int
    put_bytes: int
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
            "put_bytes": self.put_bytes,
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

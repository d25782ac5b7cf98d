"""The Meter port over prometheus_client: one table of all metrics, base units, labels few and bounded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from vortex import __version__

K = TypeVar("K", Counter, Gauge, Histogram)

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_BYTES = (1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 64e6, 256e6)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table; counters end in `_total`. A gauge of several processes is their sum, or the `greatest`."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    greatest: bool = False


METRICS = (
    Metric("counter", "vortex_records_total", "Kinesis records read"),
    Metric("counter", "vortex_events_read_total", "Events read; = accepted + duplicate + rejected of events_total"),
    Metric("counter", "vortex_events_total", "Events by outcome; late, early, untimed: of the accepted", ("outcome",)),
    Metric("counter", "vortex_rejections_total", "Rejections by reason", ("reason",)),
    Metric("counter", "vortex_read_bytes_total", "Bytes of record data read"),
    Metric("counter", "vortex_commits_total", "Segments put: committed, or lost to another worker", ("result",)),
    Metric("counter", "vortex_retries_total", "Calls repeated, by cause", ("cause",)),
    Metric("counter", "vortex_credential_renewals_total", "Times that AWS credentials were asked for", ("result",)),
    Metric("counter", "vortex_gaps_total", "Gaps: records that the stream dropped before they were read"),
    Metric("counter", "vortex_objects_published_total", "Objects published"),
    Metric("gauge", "vortex_ready", "Processes that are ready: 1 or 0 of one, their number of several"),
    Metric("counter", "vortex_rows_total", "Rows of the logs by what publishing made of them", ("outcome",)),
    Metric("counter", "vortex_decided_reads_total", "Requests for published keys that are not in memory"),
    Metric("gauge", "vortex_keys", "Published keys in memory"),
    Metric("gauge", "vortex_keys_bytes", "Memory of published keys"),
    Metric("gauge", "vortex_shard_lag_seconds", "How far the last page lay behind the tip", ("shard",), greatest=True),
    Metric("gauge", "vortex_shard_watermark_seconds", "Greatest arrival time, Unix time", ("shard",), greatest=True),
    Metric("gauge", "vortex_events_buffered", "Events accepted, and not in a segment yet"),
    Metric("gauge", "vortex_buffered_bytes", "Memory held by lines that are not committed"),
    Metric("gauge", "vortex_filter_ids", "Ids that the filters at ingest remember"),
    Metric("gauge", "vortex_filter_bytes", "Memory of the filters at ingest"),
    Metric("gauge", "vortex_frontier_seconds", "Every period below this is closed, Unix time", greatest=True),
    Metric("gauge", "vortex_frontier_holder", "1 for the shard that holds the frontier", ("shard",), greatest=True),
    Metric("gauge", "vortex_last_closed_hour_seconds", "Start of the last closed hour, Unix time", greatest=True),
    Metric("gauge", "vortex_oldest_uncommitted_age_seconds", "Age of the oldest uncommitted record", greatest=True),
    Metric("gauge", "vortex_oldest_unpublished_age_seconds", "Age of the oldest unpublished segment", greatest=True),
    Metric("gauge", "vortex_build_info", "Always 1; the version is the label", ("version",), greatest=True),
    Metric("counter", "vortex_process_restarts_total", "Worker processes that died and were started again"),
    Metric("gauge", "vortex_clock_skew_seconds", "How far the local clock is from the service's", greatest=True),
    Metric("counter", "vortex_odd_dates_total", "Replies whose Date others contradict: not believed"),
    Metric("histogram", "vortex_commit_seconds", "Sealing and putting a segment", buckets=_SECONDS),
    Metric("histogram", "vortex_publish_seconds", "Carrying out a plan", buckets=_SECONDS),
    Metric("histogram", "vortex_resolve_seconds", "Deciding on a part of a plan's keys", buckets=_SECONDS),
    Metric("histogram", "vortex_segment_bytes", "Sizes of segments", buckets=_BYTES),
    Metric("histogram", "vortex_object_bytes", "Sizes of published objects", buckets=_BYTES),
)  # fmt: skip


_COUNTING = ("counter", "histogram", "summary")
_BEGAN = "_created"
"""Ends the name of the time when a series began: of several, the first."""
_GREATEST = {"process_start_time_seconds", *(row.name for row in METRICS if row.greatest)}


def merged(pages: Iterable[str], *, counters_only: bool = False) -> bytes:
    """The pages of several processes as one: counters and histograms add up, gauges as the table says, or are left out.

    Not prometheus_client's multiprocess mode: that one cannot forget the series of a shard that has moved away.
    """
    families: dict[str, Family] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            if counters_only and family.type not in _COUNTING and not family.name.endswith(_BEGAN):
                continue
            known = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
            values = {(s.name, tuple(s.labels.items())): s.value for s in known.samples}
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                values[key] = _together(family.name, values[key], sample.value) if key in values else sample.value
            known.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
    registry = CollectorRegistry()
    registry.register(_Merged(list(families.values())))
    return generate_latest(registry)


def _together(family: str, one: float, other: float) -> float:
    if family.endswith(_BEGAN):
        return min(one, other)
    return max(one, other) if family in _GREATEST else one + other


class _Merged(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        """As they are."""
        return self._families


class PrometheusMeter:
    """Meter with a registry of its own. An undeclared name raises KeyError."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        for row in METRICS:
            if row.kind == "histogram":
                self._metrics[row.name] = Histogram(
                    row.name, row.help, row.labels, buckets=row.buckets, registry=self._registry
                )
            else:
                kind = Counter if row.kind == "counter" else Gauge
                self._metrics[row.name] = kind(row.name, row.help, row.labels, registry=self._registry)
        self.set("vortex_build_info", 1, version=__version__)

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._series(name, labels, Counter).inc(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._series(name, labels, Gauge).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one observation of a histogram."""
        self._series(name, labels, Histogram).observe(value)

    def forget(self, name: str, **labels: str) -> None:
        """Remove a labelled series."""
        with contextlib.suppress(KeyError):
            self._metrics[name].remove(*labels.values())

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)

    def _series(self, name: str, labels: dict[str, str], kind: type[K]) -> K:
        metric = self._metrics[name]
        found = metric.labels(**labels) if labels else metric
        if not isinstance(found, kind):
            raise TypeError(f"{name} is no {kind.__name__.lower()}")
        return found

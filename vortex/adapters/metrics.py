"""The Meter port over prometheus_client: the metrics of `vortex.metrics`, and the pages of several processes as one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from vortex import __version__
from vortex.metrics import BUILD_INFO, METRICS, CounterMetric, GaugeMetric, HistogramMetric, Metric

K = TypeVar("K", Counter, Gauge, Histogram)

_COUNTING = ("counter", "histogram", "summary")
_BEGAN = "_created"
"""Ends the name of the time when a series began: of several, the first."""
_GREATEST = {
    "process_start_time_seconds",
    *(row.name for row in METRICS if isinstance(row, GaugeMetric) and row.greatest),
}
_LEAST = {row.name for row in METRICS if isinstance(row, GaugeMetric) and row.least}


def merged(pages: Iterable[str], *, counters_only: bool = False) -> bytes:
    """The pages of several processes as one: counters and histograms add up, gauges as each declares, or are left out.

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
    if family.endswith(_BEGAN) or family in _LEAST:
        return min(one, other)
    return max(one, other) if family in _GREATEST else one + other


class _Merged(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        """As they are."""
        return self._families


class _Labelled(Collector):
    """The families of another collector, with a label of ours."""

    def __init__(self, inner: Collector, **label: str) -> None:
        self._inner, self._label = inner, label

    def collect(self) -> Iterable[Family]:
        """With the label in each series."""
        for family in self._inner.collect():
            family.samples = [sample._replace(labels={**self._label, **sample.labels}) for sample in family.samples]
            yield family


class PrometheusMeter:
    """Meter with a registry of its own, whose every series has the label `stream`."""

    def __init__(self, stream: str = "") -> None:
        self.stream = stream
        self._registry = CollectorRegistry()
        self._registry.register(_Labelled(ProcessCollector(registry=None), stream=stream))
        self._metrics: dict[Metric, Counter | Gauge | Histogram] = {row: self._registered(row) for row in METRICS}
        self._children: dict[tuple[Metric, tuple[str, ...]], Any] = {}
        """Looked up here, because the client library takes ten times as long."""
        self._known: dict[Metric, float] = {}
        self._totals: dict[tuple[Metric, tuple[str, ...]], float] = {}
        for row in METRICS:
            if isinstance(row, CounterMetric):
                for values in [(value,) for value in row.values] if row.labels else [()]:
                    self.add(row, 0, **dict(zip(row.labels, values, strict=True)))
            elif isinstance(row, HistogramMetric):
                self._series(row, {}, Histogram)
        self.set(BUILD_INFO, 1, version=__version__)

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._series(metric, labels, Counter).inc(value)
        key = metric, tuple(labels.values())
        self._totals[key] = self._totals.get(key, 0.0) + value

    def set(self, metric: GaugeMetric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._series(metric, labels, Gauge).set(value)
        if not labels:
            self._known[metric] = value

    def observe(self, metric: HistogramMetric, value: float, **labels: str) -> None:
        """Record one observation of a histogram."""
        self._series(metric, labels, Histogram).observe(value)

    def forget(self, metric: Metric, **labels: str) -> None:
        """Remove a series: what it said is no longer known."""
        self._children.pop((metric, tuple(labels.values())), None)
        self._known.pop(metric, None)
        with contextlib.suppress(KeyError):
            self._metrics[metric].remove(self.stream, *(labels[name] for name in metric.labels))

    def total(self, metric: CounterMetric, *values: str) -> float:
        """The value of a counter."""
        return self._totals.get((metric, values), 0.0)

    def value(self, metric: GaugeMetric) -> float | None:
        """The value of a gauge without labels; None if it is not known."""
        return self._known.get(metric)

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)

    def _registered(self, row: Metric) -> Counter | Gauge | Histogram:
        labels = ("stream", *row.labels)
        if isinstance(row, HistogramMetric):
            return Histogram(row.name, row.help, labels, buckets=row.buckets, registry=self._registry)
        kind = Counter if isinstance(row, CounterMetric) else Gauge
        return kind(row.name, row.help, labels, registry=self._registry)

    def _series(self, metric: Metric, labels: dict[str, str], kind: type[K]) -> K:
        key = metric, tuple(labels.values())
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = self._metrics[metric].labels(stream=self.stream, **labels)
        if not isinstance(found, kind):
            raise TypeError(f"{metric.name} is not a {kind.__name__.lower()}")
        return found

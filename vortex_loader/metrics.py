"""The loader's metrics: few, with few labels, and without names from events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RESULTS = ("loaded", "unchanged", "failed")


@dataclass(frozen=True, slots=True)
class Row:
    """A metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Row("vortex_loader_partitions_total", "counter", "Partitions, by what became of them", ("result",)),
    Row("vortex_loader_rows_total", "counter", "Rows loaded"),
    Row("vortex_loader_misfits_total", "counter", "Values that are NULL in their column because they do not fit"),
    Row("vortex_loader_mended_total", "counter", "Events changed so that the warehouse can hold them"),
    Row("vortex_loader_not_in_catalog_rows_total", "counter", "Rows of closed hours that the catalogue does not name"),
    Row("vortex_loader_retries_total", "counter", "Loads that were tried again"),
    Row("vortex_loader_failures_total", "counter", "Loads given up after all retries"),
    Row("vortex_loader_load_seconds", "histogram", "What one partition takes"),
    Row("vortex_loader_hours_waiting", "gauge", "Closed hours that are not loaded"),
    Row("vortex_loader_oldest_waiting_seconds", "gauge", "How long ago the oldest hour ended that is not loaded"),
    Row("vortex_loader_last_loaded_hour_seconds", "gauge", "Start of the last hour that was loaded, as Unix time"),
    Row("vortex_loader_catalog_age_seconds", "gauge", "Age of the catalogue's copy; 0 while its source answers"),
)
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


GROWING = "vortex_loader_last_loaded_hour_seconds"
"""The gauge that an older hour does not set back."""


class Metrics:
    """The metrics of one process. Counters exist from the start, so that their first increase is seen; a gauge exists
    once its value is known.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made = {
            row.name: Counter(row.name, row.help, row.labels, registry=self.registry)
            for row in METRICS
            if row.kind == "counter"
        }
        self._gauges: dict[str, Gauge] = {}
        self.partitions = made["vortex_loader_partitions_total"]
        self.rows = made["vortex_loader_rows_total"]
        self.misfits = made["vortex_loader_misfits_total"]
        self.mended = made["vortex_loader_mended_total"]
        self.not_in_catalog = made["vortex_loader_not_in_catalog_rows_total"]
        self.retries = made["vortex_loader_retries_total"]
        self.failures = made["vortex_loader_failures_total"]
        (row,) = (each for each in METRICS if each.kind == "histogram")
        self.seconds = Histogram(row.name, row.help, buckets=_BUCKETS, registry=self.registry)
        for result in RESULTS:
            self.partitions.labels(result)

    def waiting(self, hours: int, oldest_s: float) -> None:
        """How many closed hours are not loaded, and how long ago the oldest ended that is not, closed or not."""
        self._set("vortex_loader_hours_waiting", hours)
        self._set("vortex_loader_oldest_waiting_seconds", max(0.0, oldest_s))

    def loaded(self, hour: datetime) -> None:
        """All that the catalogue asks for of the hour is loaded."""
        self._set(GROWING, hour.timestamp())

    def catalog_age(self, seconds: float) -> None:
        """How old the copy of the catalogue is."""
        self._set("vortex_loader_catalog_age_seconds", seconds)

    def _set(self, name: str, value: float) -> None:
        if name not in self._gauges:
            (row,) = (each for each in METRICS if each.name == name)
            self._gauges[name] = Gauge(row.name, row.help, registry=self.registry)
        elif name == GROWING:
            value = max(value, self.registry.get_sample_value(name) or 0.0)
        self._gauges[name].set(value)

"""The loader's metrics: few, with few labels, and no name from an event in any."""

from __future__ import annotations

from dataclasses import dataclass
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


class Metrics:
    """The metrics of one process. Every series is there from the start, so that its first increase is seen."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        kinds = {"counter": Counter, "gauge": Gauge}
        made = {
            row.name: kinds[row.kind](row.name, row.help, row.labels, registry=self.registry)
            for row in METRICS
            if row.kind in kinds
        }
        self.partitions = made["vortex_loader_partitions_total"]
        self.rows = made["vortex_loader_rows_total"]
        self.misfits = made["vortex_loader_misfits_total"]
        self.mended = made["vortex_loader_mended_total"]
        self.not_in_catalog = made["vortex_loader_not_in_catalog_rows_total"]
        self.retries = made["vortex_loader_retries_total"]
        self.failures = made["vortex_loader_failures_total"]
        self.waiting = made["vortex_loader_hours_waiting"]
        self.oldest_waiting = made["vortex_loader_oldest_waiting_seconds"]
        self.last_hour = made["vortex_loader_last_loaded_hour_seconds"]
        self.catalog_age = made["vortex_loader_catalog_age_seconds"]
        (row,) = (each for each in METRICS if each.kind == "histogram")
        self.seconds = Histogram(row.name, row.help, buckets=_BUCKETS, registry=self.registry)
        for result in RESULTS:
            self.partitions.labels(result)

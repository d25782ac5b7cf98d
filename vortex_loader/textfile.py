"""Metrics of commands that end: a file for the node exporter's textfile collector, which reads it after their end.

Counters go on where the last command's ended, else Prometheus would see no increase. A gauge that this command did not
set keeps its value.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import pathlib
from collections.abc import Iterator

from prometheus_client import write_to_textfile
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from vortex_loader.metrics import GROWING, METRICS, Metrics
from vortex_loader.model import LoaderError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def kept_in(path: pathlib.Path | None, metrics: Metrics) -> Iterator[None]:
    """What the block counts is added to the file, however it ends; also nothing, so that the series are there.

    Raises LoaderError where the file cannot be written.
    """
    if path is None:
        yield
        return
    _add(path, Metrics())  # an error in writing is raised before anything is loaded
    try:
        yield
    finally:
        _add(path, metrics)


def _add(path: pathlib.Path, metrics: Metrics) -> None:
    try:
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another loader may end at the same moment
            write_to_textfile(str(path), _Summed(metrics, _families(path)))
    except OSError as problem:
        raise LoaderError(f"{path}: metrics cannot be written: {problem.strerror}") from None


def _families(path: pathlib.Path) -> list[Metric]:
    """What the file has. A file that cannot be read counts as empty: metrics must not stop a load."""
    try:
        return list(text_string_to_metric_families(path.read_text()))
    except FileNotFoundError:
        return []
    except ValueError as problem:
        log.warning("%s: cannot be read, so its counters start at 0: %s", path, problem)
        return []


class _Summed(Collector):
    """The metrics, with what the file had."""

    def __init__(self, metrics: Metrics, before: list[Metric]) -> None:
        self._metrics = metrics
        self._gauges = {family.name: family for family in before if family.type == "gauge"}
        self._before = {_name(sample): sample.value for family in before for sample in family.samples}

    def collect(self) -> Iterator[Metric]:
        """Each family, with its sums; then the gauges of the file that are not among them."""
        for family in self._metrics.registry.collect():
            family.samples = [sample._replace(value=self._value(family.type, sample)) for sample in family.samples]
            self._gauges.pop(family.name, None)
            yield family
        known = {row.name for row in METRICS}
        yield from (family for name, family in self._gauges.items() if name in known)

    def _value(self, kind: str, sample: Sample) -> float:
        before = self._before.get(_name(sample), 0.0)
        if sample.name == GROWING:
            return max(before, sample.value)
        if sample.name.endswith("_created"):
            return before or sample.value
        return sample.value if kind == "gauge" else sample.value + before


def _name(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))

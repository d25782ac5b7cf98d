"""The declarations of metrics: the naming rules of Prometheus, and that each is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vortex import metrics
from vortex.metrics import METRICS, Metric

PACKAGE = Path(metrics.__file__).parent
_BY_NAME = {name: each for name, each in vars(metrics).items() if isinstance(each, Metric)}


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_metric_follows_the_naming_rules_of_prometheus(row: Metric) -> None:
    """Counters end in _total, base units, no label that grows with customers, a help text of sentences."""
    assert re.fullmatch(r"vortex_[a-z_]+", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert set(row.labels) <= {"shard", "outcome", "cause", "reason", "result", "version", "name", "service"}
    assert not row.name.endswith(("_ms", "_mb", "_minutes"))
    assert row.help.endswith(".")


def test_metric_names_are_unique() -> None:
    assert len({row.name for row in METRICS}) == len(METRICS) == len(_BY_NAME)


def test_every_declared_metric_is_used() -> None:
    """A metric that no loop sets would stay at 0."""
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path != PACKAGE / "metrics.py")
    assert [name for name in _BY_NAME if not re.search(rf"\b{name}\b", text)] == []

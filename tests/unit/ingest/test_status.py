"""What a shard's status says of a step: totals, and the metrics by outcome and reason."""

from __future__ import annotations

from collections import Counter

from simulation.vtime import NullMeter
from vortex import metrics
from vortex.core.decode.reasons import Reason
from vortex.core.ingest.shard_state import Step
from vortex.core.log.segment import Counts
from vortex.ingest.status import ShardStatus


class _Counting(NullMeter):
    def __init__(self) -> None:
        self.found: Counter[tuple[metrics.CounterMetric, str]] = Counter()

    def add(self, metric: metrics.CounterMetric, value: float = 1, **labels: str) -> None:
        """By metric and label."""
        self.found[metric, "".join(labels.values())] += int(value)


def test_count_adds_a_step_to_the_totals_and_to_the_metrics_by_outcome() -> None:
    meter, status = _Counting(), ShardStatus("s")
    reason = next(iter(Reason))
    for _ in range(2):
        counts = Counts(records=2, events=6, accepted=3, filtered=2, rejected=1, late=1)
        status.count(Step(counts, Counter({reason: 1}), True), meter)
    assert (status.totals.records, status.totals.events, status.totals.accepted) == (4, 12, 6)
    assert meter.found == {
        (metrics.EVENTS, "accepted"): 6,
        (metrics.EVENTS, "duplicate"): 4,
        (metrics.EVENTS, "rejected"): 2,
        (metrics.EVENTS, "late"): 2,
        (metrics.RECORDS, ""): 4,
        (metrics.EVENTS_READ, ""): 12,
        (metrics.REJECTIONS, reason): 2,
    }

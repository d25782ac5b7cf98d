"""The status of a running shard."""

from __future__ import annotations

from dataclasses import dataclass, field

from vortex import metrics
from vortex.core.ingest.shard_state import ShardIngest, Step
from vortex.core.log.segment import Counts
from vortex.core.model import Position
from vortex.ingest.commits import Commits
from vortex.ports import Meter


@dataclass(slots=True)
class ShardStatus:
    """Times are epoch milliseconds."""

    shard: str
    position: Position | None = None
    watermark: int = 0
    closed_before: int = 0
    behind_ms: int = 0
    read_at: float | None = None
    """When the last page came, monotonic seconds; None before the first one."""
    waits_for: str = ""
    """What keeps a drain from the end of the shard, apart from records."""
    committed_n: int = -1
    buffered: int = 0
    filter_ids: int = 0
    filter_bytes: int = 0
    oldest_uncommitted_ms: int | None = None
    totals: Counts = field(default_factory=Counts)
    pending: Counts = field(default_factory=Counts)

    def page(self, behind_ms: int, at: float) -> None:
        """A page has come at `at` (monotonic seconds)."""
        self.behind_ms, self.read_at = behind_ms, at

    def lag_s(self, at: float) -> float | None:
        """How far reading may be behind the tip at `at`: as the last page said, and the time since. None: not known."""
        return None if self.read_at is None else self.behind_ms / 1000 + max(0.0, at - self.read_at)

    def note(self, ingest: ShardIngest, commits: Commits) -> None:
        """Update the current position and state of the shard."""
        self.position, self.watermark, self.closed_before = ingest.position, ingest.watermark, ingest.closed_before
        self.buffered = ingest.buffered + commits.in_flight
        self.filter_ids, self.filter_bytes = len(ingest.filter), ingest.filter.nbytes
        self.pending = ingest.pending
        self.committed_n = commits.head.n

    def count(self, step: Step, meter: Meter) -> None:
        """Add one step to the totals and the metrics."""
        counts = step.counts
        for outcome in ("accepted", "filtered", "rejected", "late", "early", "untimed"):
            if number := getattr(counts, outcome):
                name = "duplicate" if outcome == "filtered" else outcome
                meter.add(metrics.EVENTS, number, outcome=name)
        meter.add(metrics.RECORDS, counts.records)
        if step.unidentified:
            meter.add(metrics.EVENTS, step.unidentified, outcome="unidentified")
        meter.add(metrics.EVENTS_READ, counts.events)
        for reason, number in step.reasons.items():
            meter.add(metrics.REJECTIONS, number, reason=reason)
        self.totals.add(counts)

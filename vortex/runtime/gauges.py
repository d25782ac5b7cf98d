"""Sets the gauges from the statuses of the loops; what is not known yet is not set."""

from __future__ import annotations

from collections.abc import Mapping

from vortex import metrics
from vortex.core.log.segment import Counts
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.worker import ShardWorker
from vortex.metrics import GaugeMetric
from vortex.ports import Clock, Meter
from vortex.publish.published_keys import KeyCache
from vortex.publish.publisher import PublisherStatus

_PER_SHARD = (metrics.SHARD_LAG, metrics.SHARD_WATERMARK)


class Gauges:
    """Reads the statuses of workers and publisher; the only label is the shard."""

    def __init__(
        self,
        meter: Meter,
        clock: Clock,
        workers: Mapping[str, ShardWorker],
        publisher: PublisherStatus,
        keys: KeyCache,
        memory: MemoryBudget,
    ) -> None:
        self._meter, self._clock, self._workers, self._publisher, self._keys = meter, clock, workers, publisher, keys
        self._memory = memory
        self._shown: set[str] = set()
        self._holder = ""

    def update(self) -> None:
        """Set every gauge to its current value."""
        meter, now, at = self._meter, self._clock.now_ms(), self._clock.monotonic()
        statuses = [worker.status for worker in self._workers.values()]
        for stopped in self._shown - set(self._workers):
            for metric in _PER_SHARD:
                meter.forget(metric, shard=stopped)
        self._shown = set(self._workers)
        for status in statuses:
            if (lag := status.lag_s(at)) is not None:
                meter.set(metrics.SHARD_LAG, lag, shard=status.shard)
            if status.watermark:
                meter.set(metrics.SHARD_WATERMARK, status.watermark / 1000, shard=status.shard)
        pending = Counts()
        for status in statuses:
            pending.add(status.pending)
        meter.set(metrics.EVENTS_BUFFERED, pending.accepted)
        meter.set(metrics.BUFFERED_BYTES, sum(status.buffered for status in statuses))
        meter.set(metrics.MEMORY_LIMIT, self._memory.limit)
        meter.set(metrics.FILTER_IDS, sum(status.filter_ids for status in statuses))
        meter.set(metrics.FILTER_BYTES, sum(status.filter_bytes for status in statuses))
        waiting = [s.oldest_uncommitted_ms for s in statuses if s.oldest_uncommitted_ms is not None]
        meter.set(metrics.OLDEST_UNCOMMITTED, max(0, now - min(waiting)) / 1000 if waiting else 0)
        meter.set(metrics.KEYS, len(self._keys))
        meter.set(metrics.KEYS_BYTES, self._keys.nbytes)
        self._publishing(now)

    def _publishing(self, now: int) -> None:
        status = self._publisher
        since = status.unpublished_since
        oldest = (max(0, now - since) / 1000 if since is not None else 0.0) if status.plans else None
        self._show(metrics.OLDEST_UNPUBLISHED, oldest)
        self._show(metrics.LAST_CLOSED_HOUR, None if status.closed_hour is None else status.closed_hour / 1000)
        self._show(metrics.FRONTIER, None if status.frontier is None else status.frontier / 1000)
        if self._holder and self._holder != status.holder:
            self._meter.forget(metrics.FRONTIER_HOLDER, shard=self._holder)
        self._holder = status.holder
        if status.holder:
            self._meter.set(metrics.FRONTIER_HOLDER, 1, shard=status.holder)

    def _show(self, metric: GaugeMetric, value: float | None) -> None:
        if value is None:
            self._meter.forget(metric)
        else:
            self._meter.set(metric, value)

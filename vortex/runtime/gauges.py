"""Turns what the loops know of themselves into gauges."""

from __future__ import annotations

from collections.abc import Mapping

from vortex.core.log.segment import Counts
from vortex.ingest.worker import ShardWorker
from vortex.ports import Clock, Meter
from vortex.publish.published_keys import KeyCache
from vortex.publish.publisher import PublisherStatus

_PER_SHARD = ("vortex_shard_lag_seconds", "vortex_shard_watermark_seconds")


class Gauges:
    """Reads the statuses of workers and publisher; the only label is the shard."""

    def __init__(
        self, meter: Meter, clock: Clock, workers: Mapping[str, ShardWorker], publisher: PublisherStatus, keys: KeyCache
    ) -> None:
        self._meter, self._clock, self._workers, self._publisher, self._keys = meter, clock, workers, publisher, keys
        self._shown: set[str] = set()
        self._holder = ""

    def update(self) -> None:
        """Set every gauge to what is true now."""
        meter, now = self._meter, self._clock.now_ms()
        statuses = [worker.status for worker in self._workers.values()]
        for gone in self._shown - set(self._workers):
            for name in _PER_SHARD:
                meter.forget(name, shard=gone)
        self._shown = set(self._workers)
        for status in statuses:
            meter.set("vortex_shard_lag_seconds", status.behind_ms / 1000, shard=status.shard)
            meter.set("vortex_shard_watermark_seconds", status.watermark / 1000, shard=status.shard)
        pending = Counts()
        for status in statuses:
            pending.add(status.pending)
        meter.set("vortex_events_buffered", pending.accepted)
        meter.set("vortex_buffered_bytes", sum(status.buffered for status in statuses))
        meter.set("vortex_filter_ids", sum(status.filter_ids for status in statuses))
        meter.set("vortex_filter_bytes", sum(status.filter_bytes for status in statuses))
        waiting = [s.oldest_uncommitted_ms for s in statuses if s.oldest_uncommitted_ms is not None]
        meter.set("vortex_oldest_uncommitted_age_seconds", max(0, now - min(waiting)) / 1000 if waiting else 0)
        meter.set("vortex_keys", len(self._keys))
        meter.set("vortex_keys_bytes", self._keys.nbytes)
        self._publishing(now)

    def _publishing(self, now: int) -> None:
        meter, status = self._meter, self._publisher
        since = status.unpublished_since
        meter.set("vortex_oldest_unpublished_age_seconds", max(0, now - since) / 1000 if since is not None else 0)
        if status.closed_hour is not None:
            meter.set("vortex_last_closed_hour_seconds", status.closed_hour / 1000)
        if status.frontier is not None:
            meter.set("vortex_frontier_seconds", status.frontier / 1000)
        if self._holder and self._holder != status.holder:
            meter.forget("vortex_frontier_holder", shard=self._holder)
        self._holder = status.holder
        if status.holder:
            meter.set("vortex_frontier_holder", 1, shard=status.holder)

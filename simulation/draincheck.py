"""Checks that a drain leaves nothing that was put before it began."""

from __future__ import annotations

from simulation.logchecks import LogModel
from simulation.traffic import Written


class Drains:
    """What each drain has to read."""

    def __init__(self, records: dict[str, list[Written]], logs: LogModel) -> None:
        self._records, self._logs = records, logs
        self._last: dict[str, dict[str, int]] = {}
        """By drain and shard, the sequence number of the last record that was put before it began."""

    def began(self, owner: str) -> None:
        """A drain begins."""
        self._logs.drains.add(owner)
        self._last[owner] = {shard: records[-1].sequence for shard, records in self._records.items() if records}

    def left(self, owner: str, expired_ms: int) -> str:
        """What the drain has left, which has ended, of the records put after `expired_ms`; empty if nothing."""
        for shard, last in self._last[owner].items():
            covered, records = self._logs.covered(shard), self._logs.covers(shard)
            if left := sum(covered < one.sequence <= last and one.put_ms > expired_ms for one in records):
                return f"{left} records of {shard}"
        return ""

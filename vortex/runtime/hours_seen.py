"""The last hours as the store has them: open, closed, empty or late.

An hour's manifest never changes, so it is read once; and only its begin, since it may name a million partitions.
"""

from __future__ import annotations

import json
import re

from vortex.core.layout import hour_manifest_key, hour_of
from vortex.core.model import HOUR_MS
from vortex.ports import NotFound, ObjectStore, PortError

HOURS = 48
_SLACK_MS = 600_000
_HEAD = 4096
"""Bytes of a manifest that hold its totals: they stand before the partitions."""
_TOTALS = re.compile(rb'"totals"\s*:\s*(\{[^{}]*\})')


class HoursSeen:
    """Knows the state of the last 48 hours, from the first one of the stream on."""

    def __init__(self, store: ObjectStore, first_hour: int, due_ms: int) -> None:
        """`due_ms`: how long after its end an hour closes: its lateness and its last period."""
        self._store, self._first, self._due = store, first_hour, due_ms + _SLACK_MS
        self._rows: dict[int, int] = {}
        """Of the hours that are closed."""

    async def look(self, now_ms: int) -> None:
        """Read the manifests of hours that have closed since. What does not answer is asked again by the next look."""
        for hour in self._hours(now_ms):
            if hour in self._rows or hour + HOUR_MS > now_ms:
                continue
            try:
                self._rows[hour] = _rows_in(await self._store.get_range(hour_manifest_key(hour), 0, _HEAD))
            except NotFound:
                continue
            except (PortError, ValueError, KeyError, TypeError):
                break
        oldest = hour_of(now_ms) - HOURS * HOUR_MS
        self._rows = {hour: rows for hour, rows in self._rows.items() if hour >= oldest}

    def rows(self, now_ms: int) -> list[tuple[int, str, int | None]]:
        """Start, state and rows of each hour, the oldest first."""
        return [(hour, self._state(hour, now_ms), self._rows.get(hour)) for hour in self._hours(now_ms)]

    def _state(self, hour: int, now_ms: int) -> str:
        if (rows := self._rows.get(hour)) is not None:
            return "closed" if rows else "empty"
        return "late" if hour + HOUR_MS + self._due < now_ms else "open"

    def _hours(self, now_ms: int) -> list[int]:
        last = hour_of(now_ms)
        return [hour for hour in range(last - (HOURS - 1) * HOUR_MS, last + 1, HOUR_MS) if hour >= self._first]


def _rows_in(head: bytes) -> int:
    """The rows of an hour, by the begin of its manifest. Raises ValueError, KeyError, TypeError."""
    if (found := _TOTALS.search(head)) is None:
        raise ValueError("no totals")
    return int(json.loads(found[1])["rows"])

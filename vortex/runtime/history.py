"""Throughput and lag of the last hours, minute by minute, and the customers with the most bytes of the last hour.

Both are in memory and bounded. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from vortex.core.log.segment import Footer

STEP_MS = 60_000
_POINTS = 360
_RECENT_MS = 900_000
_BUCKET_MS = 300_000
_BUCKETS = 12
_NAMES = 2000
"""Customers that are kept of five minutes; those with the fewest bytes are left out."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted since the start of a process, and the greatest lag now; None if no shard was read."""

    events: float
    bytes: float
    rejected: float
    untimed: float
    lag_s: float | None


@dataclass(slots=True)
class Point:
    """One minute from `at_ms` on: what was counted within it, and the greatest lag."""

    at_ms: int
    events: float = 0.0
    bytes: float = 0.0
    rejected: float = 0.0
    untimed: float = 0.0
    lag_s: float | None = None


class History:
    """A ring of the last six hours."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=_POINTS)
        self._last: Totals | None = None
        self._last_ms = 0
        self.rate = 0.0
        """Events a second between the last two samples."""

    def sample(self, now_ms: int, totals: Totals) -> None:
        """Note the totals of now. What came since the last sample counts for this minute."""
        minute = now_ms - now_ms % STEP_MS
        if not self.points or self.points[-1].at_ms < minute:
            self.points.append(Point(minute))
        point, last = self.points[-1], self._last or Totals(0, 0, 0, 0, None)
        for name in ("events", "bytes", "rejected", "untimed"):
            grown = max(0.0, getattr(totals, name) - getattr(last, name))
            setattr(point, name, getattr(point, name) + grown)
        if self._last is not None and now_ms > self._last_ms:
            self.rate = 1000 * max(0.0, totals.events - self._last.events) / (now_ms - self._last_ms)
        self._last_ms = now_ms
        if totals.lag_s is not None:
            point.lag_s = max(point.lag_s or 0.0, totals.lag_s)
        self._last = totals

    def recent(self) -> Point:
        """The sums of the last quarter of an hour."""
        found = Point(self.points[-1].at_ms if self.points else 0)
        for point in [point for point in self.points if point.at_ms > found.at_ms - _RECENT_MS]:
            for name in ("events", "bytes", "rejected", "untimed"):
                setattr(found, name, getattr(found, name) + getattr(point, name))
        return found

    def last_minute(self) -> Point | None:
        """The last minute that is over; None before."""
        return self.points[-2] if len(self.points) > 1 else None

    def rows(self) -> list[list[float | None]]:
        """The points as lists."""
        return [list(astuple(point)) for point in self.points]


class Customers:
    """Bytes of lines by customer, over the last hour in steps of five minutes."""

    def __init__(self) -> None:
        self._buckets: dict[int, Counter[str]] = {}

    def committed(self, now_ms: int, footer: Footer) -> None:
        """A segment was committed."""
        bucket = self._buckets.setdefault(now_ms - now_ms % _BUCKET_MS, Counter())
        rows = footer.member_rows
        sizes = np.bincount(rows["folder"], weights=rows["raw"], minlength=len(footer.folders))
        for folder, size in zip(footer.folders, sizes.astype(np.int64).tolist(), strict=True):
            if not folder.rejected:
                bucket[folder.customer] += size
        if len(bucket) > 2 * _NAMES:
            self._buckets[now_ms - now_ms % _BUCKET_MS] = Counter(dict(bucket.most_common(_NAMES)))
        self._forget(now_ms)

    def top(self, now_ms: int, number: int = 10) -> list[tuple[str, int]]:
        """Those with the most bytes, the first with the most."""
        self._forget(now_ms)
        return sum_up(bucket.items() for bucket in self._buckets.values())[:number]

    def _forget(self, now_ms: int) -> None:
        for old in [at for at in self._buckets if at <= now_ms - _BUCKETS * _BUCKET_MS]:
            del self._buckets[old]


def sum_up(several: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """The sums by name, the greatest first."""
    found: Counter[str] = Counter()
    for pairs in several:
        for name, number in pairs:
            found[name] += number
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def added(several: Sequence[Sequence[Sequence[float | None]]]) -> list[list[float | None]]:
    """The rows of several histories as one: sums of what was counted, and the greatest lag."""
    found: dict[float, list[float | None]] = {}
    for rows in several:
        for row in rows:
            at, *counts, lag = row
            known = found.setdefault(at or 0, [at, 0.0, 0.0, 0.0, 0.0, None])
            for number, count in enumerate(counts, 1):
                known[number] = (known[number] or 0.0) + (count or 0.0)
            known[5] = lag if known[5] is None else max(known[5], lag or 0.0)
    return [found[at] for at in sorted(found)]

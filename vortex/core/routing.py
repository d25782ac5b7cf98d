"""Which period an event belongs to, and whether that period is still open to this shard.

The one rule: a period is open while `end + allowed_lateness > W`; what belongs to a closed period, or to one after W's
own, goes to W's period (or to `open_from` where that is later). So a shard never writes into what it declared closed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHAPES = {20, 24, 27}
_MEMO_LIMIT = 100_000
# Numbers are told apart by size: seconds until the year 5138, then milli-, micro- and nanoseconds.
_UNITS = ((1e11, 1_000.0), (1e14, 1.0), (1e17, 1e-3), (math.inf, 1e-6))
EARLIEST_MS = -62_135_596_800_000
"""The first moment of year 1, before which no calendar here reaches."""
_LATEST = 253_402_300_799_999


def parse_time(value: str | int | float | None) -> int | None:
    """Epoch milliseconds of an ISO 8601 text (UTC where it names no zone) or of a number; None where unreadable.

    Only the years 1 to 9999 are readable, as in Python's datetime.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) >= 9:
            return _from_number(int(value)) if len(value) < 20 else None
        return _from_text(value)
    return _from_number(value)


def _from_number(value: int | float) -> int | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    size = abs(value)
    factor = next(factor for limit, factor in _UNITS if size < limit or limit == math.inf)
    try:
        ms = int(value * factor)
    except OverflowError:
        return None
    return ms if EARLIEST_MS <= ms <= _LATEST else None


def _from_text(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        ms = math.floor(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    # A zone can push the first or last day of the calendar over its edge.
    return ms if EARLIEST_MS <= ms <= _LATEST else None


def floor_period(ms: int, period_ms: int) -> int:
    """The start of the period that `ms` lies in; right for times before 1970, too."""
    return ms - ms % period_ms


@dataclass(frozen=True, slots=True)
class Rules:
    """`period_ms` divides an hour; `lateness_ms` is `hours.allowed_lateness`."""

    period_ms: int
    lateness_ms: int

    def open_from(self, watermark: int) -> int:
        """The least period that is open at `watermark`: the least p with p + period + lateness > W."""
        return floor_period(max(watermark - self.lateness_ms, EARLIEST_MS), self.period_ms)

    def open_from_each(self, watermarks: NDArray[np.int64]) -> NDArray[np.int64]:
        """`open_from` at each of the watermarks."""
        earliest: NDArray[np.int64] = np.maximum(watermarks - self.lateness_ms, EARLIEST_MS)
        return earliest - earliest % self.period_ms


class PeriodReader:
    """Reads an event's time as a period, remembering the minutes it has seen.

    Of a text like 2018-12-18T07:05:09.123Z only what decides the period is read: the first 16 characters (19 where
    periods are shorter than a minute). So the answer is a pure function of a prefix that thousands of events share.
    """

    def __init__(self, period_ms: int) -> None:
        self._period = period_ms
        self._prefix = 16 if period_ms % 60_000 == 0 else 19
        self._memo: dict[str, int | None] = {}

    def column(self, values: list[Any]) -> list[int | None]:
        """`read` for a page: where all are texts of one shape, only their distinct prefixes are looked at."""
        try:
            sizes, text = set(map(len, values)), "".join(values)
        except TypeError:
            return list(map(self.read, values))
        if len(sizes) != 1 or not sizes <= _SHAPES:
            return list(map(self.read, values))
        (size,) = sizes
        if text[10::size] != "T" * len(values) or text[size - 1 :: size] != "Z" * len(values):
            return list(map(self.read, values))
        end, memo = self._prefix, self._memo
        prefixes = [value[:end] for value in values]
        periods = {prefix: memo[prefix] if prefix in memo else self._learn(prefix) for prefix in set(prefixes)}
        return list(map(periods.__getitem__, prefixes))

    def read(self, value: str | int | float | None) -> int | None:
        """The period, or None where the time is missing or unreadable."""
        if value.__class__ is str:
            text: str = value
            if text[-1:] == "Z" and len(text) in _SHAPES and text[10] == "T":
                prefix = text[: self._prefix]
                try:
                    return self._memo[prefix]
                except KeyError:
                    return self._learn(prefix)
        ms = parse_time(value)
        return None if ms is None else floor_period(ms, self._period)

    def _learn(self, prefix: str) -> int | None:
        ms = _from_text(prefix + "Z")
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        period = self._memo[prefix] = None if ms is None else floor_period(ms, self._period)
        return period

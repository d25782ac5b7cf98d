"""Which period an event belongs to, and whether that period is still open for this shard.

The one rule: with W the shard's watermark, a period is open while `end + allowed_lateness > W`. An event of a closed
period, or of a period after W's own, goes to W's period (or to `closed_before` if that is later). So a shard never
writes into a period that it has declared closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vortex.core.times import EARLIEST_MS as EARLIEST_MS
from vortex.core.times import parse_time as parse_time

Format = Callable[[str], int | None]
"""Reads a text as epoch milliseconds; None for a text in another format."""
_SHAPES = {20, 24, 27}
_TENS = set("012345")
_MEMO_LIMIT = 20_000
_LONGEST = 64
"""Maximum characters of a cached text."""


def floor_period(ms: int, period_ms: int) -> int:
    """The start of the period that contains `ms`; correct for times before 1970, too."""
    return ms - ms % period_ms


@dataclass(frozen=True, slots=True)
class Rules:
    """`period_ms` divides an hour; `lateness_ms` is `hours.allowed_lateness`."""

    period_ms: int
    lateness_ms: int

    def closed_before(self, watermark: int) -> int:
        """The first open period at `watermark`: the smallest p with p + period + lateness > W."""
        return floor_period(max(watermark - self.lateness_ms, EARLIEST_MS), self.period_ms)

    def closed_before_each(self, watermarks: NDArray[np.int64]) -> NDArray[np.int64]:
        """`closed_before` at each of the watermarks."""
        earliest: NDArray[np.int64] = np.maximum(watermarks - self.lateness_ms, EARLIEST_MS)
        return earliest - earliest % self.period_ms


class PeriodReader:
    """Reads an event's time as a period, and caches the minutes it has seen.

    The period of a text like 2018-12-18T07:05:09.123Z follows from its first 16 characters (19 if periods are shorter
    than a minute), which thousands of events share. Texts are first read by `formats`, in their order.
    """

    def __init__(self, period_ms: int, formats: Sequence[Format] = ()) -> None:
        self._period, self._formats = period_ms, formats
        self._prefix = 16 if period_ms % 60_000 == 0 else 19
        self._memo: dict[str, int | None] = {}

    def column(self, values: list[Any]) -> list[int | None]:
        """`read` for a page: if all texts have the same shape, only their distinct prefixes are read."""
        try:
            sizes, text = set(map(len, values)), "".join(values)
        except TypeError:
            return list(map(self.read, values))
        if self._formats or len(sizes) != 1 or not _is_plain(text, *sizes):
            return list(map(self.read, values))
        end, memo = self._prefix, self._memo
        prefixes = [value[:end] for value in values]
        periods = {prefix: memo[prefix] if prefix in memo else self._learn(prefix) for prefix in set(prefixes)}
        if any(prefix[11:13] == "24" for prefix in periods):
            return list(map(self.read, values))  # hour 24, of which only the first moment is valid
        return list(map(periods.__getitem__, prefixes))

    def read(self, value: str | int | float | None) -> int | None:
        """The period; None if the time is missing or unreadable."""
        if not isinstance(value, str):
            return self._floored(parse_time(value))
        if not self._formats:
            plain = _is_plain(value, len(value)) and value[11:13] != "24"
            return self._learn(value[: self._prefix]) if plain else self._floored(parse_time(value))
        try:
            return self._memo[value]
        except KeyError:
            several = (read(value) for read in (*self._formats, parse_time))
            return self._remember(value, next((ms for ms in several if ms is not None), None))

    def _learn(self, prefix: str) -> int | None:
        try:
            return self._memo[prefix]
        except KeyError:
            return self._remember(prefix, parse_time(prefix + "Z"))

    def _remember(self, text: str, ms: int | None) -> int | None:
        period = self._floored(ms)
        if len(text) <= _LONGEST:
            if len(self._memo) >= _MEMO_LIMIT:
                self._memo.clear()
            self._memo[text] = period
        return period

    def _floored(self, ms: int | None) -> int | None:
        return None if ms is None else floor_period(ms, self._period)


def _is_plain(text: str, size: int) -> bool:
    """Whether the concatenated texts of this size all have valid characters after the minute."""
    if size not in _SHAPES or not text.isascii():
        return False
    count = len(text) // size
    if text[10::size] != "T" * count or text[16::size] != ":" * count or text[size - 1 :: size] != "Z" * count:
        return False
    if not set(text[17::size]) <= _TENS or (size > 20 and text[19::size] != "." * count):
        return False
    return all(text[at::size].isdigit() for at in (18, *range(20, size - 1)))

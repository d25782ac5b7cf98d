"""What one Kinesis shard gives away: 5 calls in any second, 2 MiB a second, nothing for 5 s after a full page.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

CALLS_PER_SECOND = 5
BYTES_PER_SECOND = 2 << 20
FULL_PAGE_PENALTY_S = 5.0
_WINDOW_S = 0.999
"""A second, less a rounding error, so that a caller at even fifths of a second is within its rights."""


@dataclass
class Allowance:
    """One shard's recent past. Calls that were refused do not count."""

    calls: deque[float] = field(default_factory=deque)
    iterators: deque[float] = field(default_factory=deque)
    debt: float = 0.0
    """Bytes given and not yet made up for by time."""
    debt_at: float = 0.0
    closed_until: float = 0.0

    def may_read(self, now: float) -> bool:
        """Whether a GetRecords call goes through now."""
        return now >= self.closed_until and self._owed(now) < BYTES_PER_SECOND and _under_rate(self.calls, now)

    def give(self, size: int, full: bool, now: float) -> None:
        """A page of `size` bytes went out; `full` where the limit of 10 MiB cut it."""
        self.debt, self.debt_at = self._owed(now) + size, now
        self.calls.append(now)
        if full:
            self.closed_until = now + FULL_PAGE_PENALTY_S

    def take_iterator(self, now: float) -> bool:
        """Whether a GetShardIterator call goes through now; if so, it counts."""
        if not _under_rate(self.iterators, now):
            return False
        self.iterators.append(now)
        return True

    def _owed(self, now: float) -> float:
        return max(0.0, self.debt - (now - self.debt_at) * BYTES_PER_SECOND)


def _under_rate(calls: deque[float], now: float) -> bool:
    while calls and calls[0] <= now - _WINDOW_S:
        calls.popleft()
    return len(calls) < CALLS_PER_SECOND

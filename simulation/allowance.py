"""The read limits of one Kinesis shard: 5 calls per second, 2 MiB per second, no call for 5 s after a full page.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

CALLS_PER_SECOND = 5
BYTES_PER_SECOND = 2 << 20
FULL_PAGE_PENALTY_S = 5.0
_WINDOW_S = 0.999
"""A second minus a rounding error, so that a caller with exactly five calls a second is within the limit."""


@dataclass
class Allowance:
    """The recent calls of one shard. Throttled calls do not count."""

    calls: deque[float] = field(default_factory=deque)
    iterators: deque[float] = field(default_factory=deque)
    debt: float = 0.0
    """Bytes read that the limit per second does not yet cover."""
    debt_at: float = 0.0
    closed_until: float = 0.0

    def may_read(self, now: float) -> bool:
        """Whether a GetRecords call is allowed now."""
        return now >= self.closed_until and self._owed(now) < BYTES_PER_SECOND and _under_rate(self.calls, now)

    def give(self, size: int, full: bool, now: float) -> None:
        """Count a page of `size` bytes; `full` if the limit of 10 MiB cut it."""
        self.debt, self.debt_at = self._owed(now) + size, now
        self.calls.append(now)
        if full:
            self.closed_until = now + FULL_PAGE_PENALTY_S

    def take_iterator(self, now: float) -> bool:
        """Whether a GetShardIterator call is allowed now; if so, count it."""
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

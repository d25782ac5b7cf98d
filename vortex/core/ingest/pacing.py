"""Paces the reading of a shard within its limits: how many records to request, and when to call again.

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html: five calls and 2 MiB a second; after a full
reply (10 MiB) no call for five seconds.
"""

from __future__ import annotations

MOST_RECORDS = 10_000
"""The limit of GetRecords on records per call."""
FIRST_RECORDS = 100
"""The first request, while the size of records is unknown: each may have 10 MiB, or thousands of events."""
PAGE_BYTES = 4 * 2**20
"""Target size of a page: two seconds of a shard's read limit, four seconds of its write limit. The fixed cost of a page
is still significant at 2 MiB. A page of 10 MiB takes several times that in memory (base64, records, their parts), and
calls are throttled for 5 s after it."""
FULL_BYTES = 9 * 2**20
"""A reply of more bytes counts as full: the next record may not have fitted."""
FULL_PAUSE_S = 5.0
"""Seconds for which calls are throttled after a full reply."""
CALL_S = 0.25
"""Minimum seconds between calls; slightly more than Kinesis requires, since the duration of replies varies."""
TICKS = 4
"""Ticks per poll interval of a shard at its tip: idle shards are read on a tick."""
BYTES_PER_S = 2_000_000
"""Slightly less than the limit of 2 MiB, since partition keys count, too."""


def next_limit(limit: int, records: int, size: int) -> int:
    """The number of records to request next, after a page of `records` with `size` bytes that was requested with
    `limit`.

    Grows at most tenfold: after one page of small records the next ones may be large.
    """
    if not records:
        return limit
    return max(1, min(MOST_RECORDS, 10 * limit, PAGE_BYTES * records // max(1, size)))


def pause(size: int, behind_ms: int, tip_s: float) -> float:
    """Seconds between a reply with `size` bytes of data and the next call.

    A shard that lags is read as fast as Kinesis allows. At its tip (the lag is below the interval) it is read every
    `tip_s` seconds: a call and its page cost as much as a few hundred events, and one reply holds what a shard at its
    full rate receives in two seconds, 2,000 records or 2 MiB.
    """
    allowed = max(CALL_S, size / BYTES_PER_S, FULL_PAUSE_S if size > FULL_BYTES else 0.0)
    return allowed if behind_ms > tip_s * 1000 else max(allowed, tip_s)


def next_call(replied: float, size: int, behind_ms: int, tip_s: float) -> float:
    """When to call again after a reply at `replied`, in seconds of the same clock; other arguments as for `pause`.

    Idle shards are read together, on ticks of the clock, up to a quarter of `tip_s` earlier: one after another they
    find the program in the CPU caches, and 200 of them cost a quarter less than each separately.
    """
    at = replied + pause(size, behind_ms, tip_s)
    if size or not tip_s or behind_ms > tip_s * 1000:
        return at
    return max(replied + CALL_S, at - at % (tip_s / TICKS))

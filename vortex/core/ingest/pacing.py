"""How a shard is read within its limits: how many records to ask for at once, and when to ask again.

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html: five calls and 2 MiB a second; after a full
reply (10 MiB) no call for five seconds.
"""

from __future__ import annotations

MOST_RECORDS = 10_000
"""Of one call."""
FIRST_RECORDS = 100
"""Asked for while nobody knows how large records are: they may have 10 MiB, or carry thousands of events each."""
PAGE_BYTES = 4 * 2**20
"""What a shard gives away in two seconds, and takes in four. A page costs a fixed part however much it holds, which one
of 2 MiB has not yet made small. One of 10 MiB would take several times that of memory (base64, records, their parts),
and no call is answered for 5 s after it."""
FULL_BYTES = 9 * 2**20
"""A reply of more is full, or nearly so: the next record may not have found room."""
FULL_PAUSE_S = 5.0
"""For so long no call is answered after a full reply."""
CALL_S = 0.25
"""Seconds between calls, however little they bring; a little over what is allowed, for replies take their time."""
TICKS = 4
"""In the time between two calls of a shard at its tip: idle shards are asked on one of them."""
BYTES_PER_S = 2_000_000
"""A little under 2 MiB, for partition keys count, too."""


def next_limit(limit: int, records: int, size: int) -> int:
    """The number to ask for next, after a page of `records` with `size` bytes of data that was asked for with `limit`.

    Growing by tenfold at most: one page of small records does not tell that the next ones are small, too.
    """
    if not records:
        return limit
    return max(1, min(MOST_RECORDS, 10 * limit, PAGE_BYTES * records // max(1, size)))


def pause(size: int, behind_ms: int, tip_s: float) -> float:
    """Seconds between a reply with `size` bytes of data and the next call.

    A shard that has fallen behind is read as fast as Kinesis allows. At its tip (no further behind than the next call
    comes) it is asked every `tip_s` seconds: a call and its page cost as much as some hundreds of events, and what a
    shard at its full rate takes in two seconds, 2,000 records or 2 MiB, one reply holds.
    """
    allowed = max(CALL_S, size / BYTES_PER_S, FULL_PAUSE_S if size > FULL_BYTES else 0.0)
    return allowed if behind_ms > tip_s * 1000 else max(allowed, tip_s)


def next_call(replied: float, size: int, behind_ms: int, tip_s: float) -> float:
    """When to call again after a reply that came at `replied`, in seconds of the same clock; the rest as for `pause`.

    Shards that have nothing are asked together, on ticks of the clock, up to a quarter of `tip_s` sooner: one after the
    other they find the program in the processor's caches, and 200 of them cost a quarter less than each on its own.
    """
    at = replied + pause(size, behind_ms, tip_s)
    if size or not tip_s or behind_ms > tip_s * 1000:
        return at
    return max(replied + CALL_S, at - at % (tip_s / TICKS))

"""How many records to ask for at once: enough to read as fast as a shard may be read, for little memory."""

from __future__ import annotations

MOST_RECORDS = 10_000
"""Of one call (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html)."""
FIRST_RECORDS = 100
"""Asked for while nobody knows how large records are: they may have 10 MiB, or carry thousands of events each."""
PAGE_BYTES = 2 * 2**20
"""What a shard gives away in a second. A page of 10 MiB would gain nothing: no call is answered for 5 s after it, and
base64, records and their parts take several times its size."""


def next_limit(limit: int, records: int, size: int) -> int:
    """The number to ask for next, after a page of `records` with `size` bytes of data that was asked for with `limit`.

    Growing by tenfold at most: one page of small records does not tell that the next ones are small, too.
    """
    if not records:
        return limit
    return max(1, min(MOST_RECORDS, 10 * limit, PAGE_BYTES * records // max(1, size)))

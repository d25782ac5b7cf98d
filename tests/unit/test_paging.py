"""How many records are asked for, by what the last page held."""

from __future__ import annotations

import pytest

from vortex.core.paging import FIRST_RECORDS, MOST_RECORDS, PAGE_BYTES, next_limit


@pytest.mark.parametrize(
    ("limit", "records", "size", "then"),
    [
        (FIRST_RECORDS, 0, 0, FIRST_RECORDS),  # an empty page tells nothing
        (FIRST_RECORDS, 100, 100 * 1024, 1000),  # small ones: tenfold at most
        (1000, 1000, 1000 * 1024, PAGE_BYTES // 1024),
        (MOST_RECORDS, 5000, 500_000, MOST_RECORDS),
        (MOST_RECORDS, 10, 10 * 2**20, 2),  # large ones: at once
        (MOST_RECORDS, 1, 10 * 2**20, 1),
        (1, 1, 0, 10),
    ],
)
def test_the_next_limit(limit: int, records: int, size: int, then: int) -> None:
    """About PAGE_BYTES, between one record and what the service allows."""
    assert next_limit(limit, records, size) == then

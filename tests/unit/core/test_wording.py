"""Words of messages for people."""

from __future__ import annotations

import pytest

from vortex.core.wording import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (12_000, "12,000 shards"), (-1, "-1 shards")]
)
def test_counted_takes_the_plural_for_every_number_but_one(number: int, text: str) -> None:
    assert counted(number, "shard") == text


def test_counted_takes_the_given_plural_for_several() -> None:
    assert [counted(number, "retry", "retries") for number in (1, 2)] == ["1 retry", "2 retries"]

"""Words of messages for people; the loader, which imports nothing of the program, has its own copy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import vortex.core.wording
import vortex_loader.wording


@pytest.mark.parametrize("counted", [vortex.core.wording.counted, vortex_loader.wording.counted])
@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (12_000, "12,000 shards"), (-1, "-1 shards")]
)
def test_counted_takes_the_plural_for_every_number_but_one(
    counted: Callable[[int, str], str], number: int, text: str
) -> None:
    assert counted(number, "shard") == text

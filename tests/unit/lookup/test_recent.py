"""What is kept of what was read."""

from __future__ import annotations

import pytest

from vortex.lookup.recent import RecentlyRead


async def test_get_reads_a_value_again_only_after_it_had_to_go() -> None:
    held, read = RecentlyRead[str, bytes](10, len), list[str]()

    async def get(key: str, size: int) -> bytes:
        async def call() -> bytes:
            read.append(key)
            return b"x" * size

        return await held.get(key, call)

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("large", 99), ("large", 99)):
        assert len(await get(key, size)) == size
    assert read == ["a", "b", "c", "b", "large"]


async def test_get_keeps_nothing_of_a_failed_reading() -> None:
    held = RecentlyRead[str, int](10, lambda _: 1)

    async def fail() -> int:
        raise KeyError

    async def one() -> int:
        return 1

    with pytest.raises(KeyError):
        await held.get("a", fail)
    assert await held.get("a", one) == 1

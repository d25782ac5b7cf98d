"""Room in memory: its limit, its order, and who waits no longer."""

from __future__ import annotations

import asyncio

from simulation import vtime
from vortex.under_way import BytesUnderWay


def test_bytes_under_way_stay_below_the_limit_in_the_order_of_calls() -> None:
    """What is larger than the limit waits until it is alone; who is cancelled takes no room."""
    used, most, order = 0, 0, []

    async def one(limit: BytesUnderWay, name: int, size: int) -> None:
        nonlocal used, most
        async with limit.of(size):
            order.append(name)
            used += size
            most = max(most, used if size <= 100 else 0)
            assert used <= 100 or used == size
            await asyncio.sleep(1)
            used -= size

    async def main() -> None:
        limit = BytesUnderWay(100)
        sizes = [60, 60, 30, 500, 10, 90, 10, 100]
        tasks = [asyncio.ensure_future(one(limit, name, size)) for name, size in enumerate(sizes)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 2, 3, 4, 5, 6, 7]
        assert (used, most) == (0, 100)
        async with limit.of(100):
            pass

    vtime.run(main())


def test_bytes_under_way_follow_a_limit_that_changes() -> None:
    """A higher one lets in those that wait, in their order; a lower one takes nothing back."""

    async def main() -> None:
        limit, order = BytesUnderWay(100), list[str]()

        async def one(name: str, size: int) -> None:
            async with limit.of(size):
                order.append(name)
                await asyncio.sleep(10)

        tasks = [asyncio.ensure_future(one(name, size)) for name, size in (("a", 90), ("b", 60), ("c", 60), ("d", 20))]
        await asyncio.sleep(1)
        assert order == ["a"]
        limit.resize(150)
        await asyncio.sleep(1)
        assert order == ["a", "b"]
        limit.resize(50)
        await asyncio.sleep(9)
        assert order == ["a", "b"], "60 bytes are under way"
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c", "d"], "c is larger than the limit, so alone"

    vtime.run(main())


def test_bytes_under_way_are_granted_when_patience_ends() -> None:
    """Others behind it still wait for their turn."""

    async def main() -> None:
        limit, loop = BytesUnderWay(100), asyncio.get_running_loop()
        order: list[tuple[str, float]] = []

        async def one(name: str, size: int, patience_s: float | None) -> None:
            async with limit.of(size, patience_s):
                order.append((name, loop.time() - began))
                await asyncio.sleep(30)

        began = loop.time()
        several = [one("first", 100, None), one("impatient", 60, 10.0), one("second", 40, None)]
        await asyncio.gather(*several)
        assert order == [("first", 0), ("impatient", 10), ("second", 30)]
        async with limit.of(100, 1.0):
            assert loop.time() - began == 60

    vtime.run(main())

"""A stream under a clock that the test advances."""

from __future__ import annotations

from simulation.memstream import MemoryStream
from vortex.core.model import Position, Record, Start

HORIZON = Position(Start.TRIM_HORIZON)
FIRST = "shardId-000000000000"


class ManualClock:
    """A `ports.Clock` that only the test advances."""

    def __init__(self) -> None:
        self.seconds = 1_545_000_000.25

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def begin(stream: MemoryStream, position: Position = HORIZON, shard: str = FIRST) -> str:
    token = await stream.iterator(shard, position)
    assert token is not None
    return token


async def drain(stream: MemoryStream, clock: ManualClock, shard: str = FIRST, calls: int = 1000) -> list[Record]:
    """All records from the horizon to the tip or the end."""
    token: str | None = await begin(stream, shard=shard)
    found: list[Record] = []
    for _ in range(calls):
        assert token is not None
        page = await stream.read(shard, token)
        found += page.records
        token = page.iterator
        if token is None or (page.behind_ms == 0 and not page.records):
            break
        clock.seconds += 0.2
    return found

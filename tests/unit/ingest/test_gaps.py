"""Whether a shard that is not listed has expired."""

from __future__ import annotations

import pytest

from simulation import vtime
from simulation.memstream import MemoryStream
from vortex.ingest.gaps import listed_without
from vortex.ports import Denied

DAY_MS = 86_400_000


def test_shard_that_is_not_listed_counts_as_expired_only_after_the_retention() -> None:
    async def scenario() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=2)
        view, (first, second) = stream.seen_by("w"), stream.shards()
        now = clock.now_ms()
        assert await listed_without(first.id, "shard", view, clock, 0) is None
        assert await listed_without("gone", "shard", view, clock, now - DAY_MS) == [first, second]
        with pytest.raises(Denied, match=r"^shard gone of s is not listed, but it was read less than 24 h ago"):
            await listed_without("gone", "shard gone of s", view, clock, now - DAY_MS + 1)

    vtime.run(scenario())

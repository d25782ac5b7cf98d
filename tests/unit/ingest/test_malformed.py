"""Malformed replies in a row: the pauses after them, the log, and when a refused position gives the shard up."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulation import vtime
from vortex.ingest.malformed import Malformed
from vortex.ports import InvalidPosition


async def pauses(malformed: Malformed, number: int) -> list[float]:
    """Seconds that it waits after each reply."""
    times = [vtime.now()]
    for _ in range(number):
        await malformed.pause("no iterator")
        times.append(vtime.now())
    return [later - earlier for earlier, later in pairwise(times)]


def made() -> Malformed:
    return Malformed("shard a", vtime.VirtualClock(), vtime.NullMeter())


def test_pause_is_longer_each_time_until_a_page_has_a_next_iterator(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        malformed = made()
        assert await pauses(malformed, 6) == pytest.approx([1, 2, 4, 8, 10, 10])
        assert "(4 in a row)" in caplog.text
        assert "(5 in a row)" not in caplog.text
        malformed.page(followed=False)
        assert await pauses(malformed, 1) == pytest.approx([10])
        malformed.page(followed=True)
        assert await pauses(malformed, 2) == pytest.approx([1, 2])

    vtime.run(scenario())


def test_sixty_refusals_in_a_row_are_raised_and_a_page_begins_again() -> None:
    malformed, problem = made(), InvalidPosition("a")
    for _ in range(2):
        for _ in range(59):
            malformed.refused(problem)
        malformed.page(followed=False)
    for _ in range(59):
        malformed.refused(problem)
    with pytest.raises(InvalidPosition):
        malformed.refused(problem)

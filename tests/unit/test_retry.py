"""Retries in virtual time: what is repeated, how long it waits, and what the world hears of it."""

from __future__ import annotations

from random import Random

import pytest

from vortex.ports import Denied, NotFound, Unavailable
from vortex.retry import Health, Retry
from vortex.testing import vtime


class _Calls:
    """A call that fails with each of `problems` in turn, then answers; `at` is when it was made."""

    def __init__(self, *problems: Exception) -> None:
        self.problems, self.at = list(problems), list[float]()
        self.clock, self.health = vtime.VirtualClock(), Health()
        self.troubles: list[dict[str, str]] = []

    async def __call__(self) -> str:
        self.at.append(self.clock.monotonic())
        self.troubles.append(self.health.report())
        if self.problems:
            raise self.problems.pop(0)
        return "answer"

    async def retried(self) -> str:
        return await Retry(self.clock, vtime.NullMeter(), self.health, Random(1))("call", self)

    @property
    def waits(self) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in zip(self.at, self.at[1:], strict=False)]


def test_what_is_unavailable_is_asked_again_with_growing_pauses() -> None:
    """Full jitter, below a limit that grows from 0.4 s to 20 s; above 0.2 s, for a shard allows five calls a second."""

    async def scenario() -> None:
        calls = _Calls(*(Unavailable("busy") for _ in range(12)))
        assert await calls.retried() == "answer"
        assert len(calls.waits) == 12
        limits = [min(20.0, 0.4 * 2**n) for n in range(12)]
        assert all(0.2 <= wait <= limit for wait, limit in zip(calls.waits, limits, strict=True)), calls.waits
        assert max(calls.waits) > 2.0

    vtime.run(scenario())


def test_a_denial_makes_unready_until_it_passes() -> None:
    """It is asked again every thirty seconds; a first call that succeeds waits for nothing."""

    async def scenario() -> None:
        calls = _Calls(Denied("no"), Denied("no"))
        assert await calls.retried() == "answer"
        assert calls.waits == [30.0, 30.0]
        assert calls.troubles == [{}, {"call": "no"}, {"call": "no"}]
        assert calls.health.report() == {}
        at_once = _Calls()
        assert await at_once.retried() == "answer"
        assert at_once.waits == []

    vtime.run(scenario())


@pytest.mark.parametrize("before", [(), (Unavailable("busy"),)], ids=["at once", "after a retry"])
def test_other_errors_pass_through(before: tuple[Exception, ...]) -> None:
    """They mean something to the caller."""

    async def scenario() -> None:
        calls = _Calls(*before, NotFound("no such key"))
        with pytest.raises(NotFound, match="no such key"):
            await calls.retried()
        assert len(calls.at) == 1 + len(before)

    vtime.run(scenario())

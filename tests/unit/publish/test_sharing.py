"""Pieces of a plan that workers share: each does its own, and the planner those that are overdue."""

from __future__ import annotations

import asyncio

from simulation import vtime
from vortex.publish.sharing import PATIENCE_S, Doing, Sharing


class Pieces:
    """Pieces that are done or not; `did` holds when this worker did each."""

    def __init__(self, done: set[int]) -> None:
        self.done, self.did = done, dict[int, float]()
        self.clock = vtime.VirtualClock()

    @property
    def doing(self) -> Doing:
        return self._has, self._do

    async def _has(self, number: int) -> bool:
        return number in self.done

    async def _do(self, number: int) -> None:
        self.done.add(number)
        self.did[number] = self.clock.monotonic()


def test_own_does_the_pieces_of_this_worker_that_are_not_done() -> None:
    async def scenario() -> None:
        pieces = Pieces({0})
        await Sharing(pieces.clock, "me").own(["me", "other", "me", "me"], pieces.doing)
        assert list(pieces.did) == [2, 3]

    vtime.run(scenario())


def test_all_does_the_pieces_of_absent_workers_at_once_and_of_slow_ones_when_overdue() -> None:
    async def scenario() -> None:
        pieces = Pieces(set())
        sharing = Sharing(pieces.clock, "me")
        assert await sharing.all("range", ["me", "dead", "slow"], pieces.doing, lambda: ["me", "slow"])
        assert (pieces.did[0], pieces.did[1]) == (0, 0)
        assert PATIENCE_S <= pieces.did[2] < PATIENCE_S + 2

    vtime.run(scenario())


def test_all_returns_false_when_this_worker_leaves() -> None:
    async def scenario() -> None:
        pieces = Pieces(set())
        sharing = Sharing(pieces.clock, "me")
        waiting = asyncio.ensure_future(sharing.all("range", ["slow"], pieces.doing, lambda: ["slow"]))
        await asyncio.sleep(5)
        sharing.leaving = True
        assert await waiting is False
        assert pieces.did == {}

    vtime.run(scenario())

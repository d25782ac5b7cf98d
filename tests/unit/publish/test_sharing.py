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


def test_all_shares_out_the_pieces_of_a_worker_that_has_left_where_all_do_this_together() -> None:
    """Each of them once, and at once: with one worker of four away, and with two."""

    async def scenario(there: list[str]) -> None:
        takers = ["a", "b", "c", "d"] * 2
        pieces = {name: Pieces(set()) for name in there}
        done = set[int]()
        for its in pieces.values():
            its.done = done
        await asyncio.gather(
            *(
                Sharing(its.clock, name).all("ids", takers, its.doing, lambda: there, together=True)
                for name, its in pieces.items()
            )
        )
        assert sorted(number for its in pieces.values() for number in its.did) == list(range(8))
        assert max(at for its in pieces.values() for at in its.did.values()) < 5

    for there in (["a", "b", "d"], ["c", "d"]):
        vtime.run(scenario(there))


def test_all_does_not_count_waiting_as_work() -> None:
    """An own piece waits for another worker, too: the second wait is not longer for it."""

    async def scenario() -> None:
        inner, outer = Pieces(set()), Pieces(set())
        sharing = Sharing(outer.clock, "me")
        takers = ["me", "hung"]

        async def do(number: int) -> None:
            await outer.clock.sleep(1)
            await sharing.all("ids", takers, inner.doing, lambda: takers)
            await outer._do(number)

        assert await sharing.all("part", takers, (outer._has, do), lambda: takers)
        assert PATIENCE_S <= inner.did[1] <= PATIENCE_S + 3
        assert 2 * PATIENCE_S <= outer.did[1] <= 2 * PATIENCE_S + 10

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

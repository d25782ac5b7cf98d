"""Receipts of replayed rejections. test_replay.py tests them with the replay."""

from __future__ import annotations

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.lookup.receipts import IN_PROGRESS_MS, Claim, Receipts, Standing
from vortex.lookup.rejections import Rejection
from vortex.retry import Once

ONE = Rejection("r", "s", "7", 2, 0.0, data="x")


async def test_claim_is_given_once_until_the_attempt_was_refused() -> None:
    store = MemoryStore(VirtualClock())
    mine, other = (Receipts(store, "_vortex/s@1", Once(), run=run, by="test") for run in ("me", "other"))
    assert await mine.look(ONE) is Standing.MINE
    claim = await mine.claim(ONE, 0)
    assert claim == Claim(Standing.MINE, 1)
    assert await mine.claim(ONE, 0) == claim  # the put took effect, its reply was lost
    assert (await other.claim(ONE, 0)).standing is Standing.UNKNOWN
    assert await other.look(ONE) is Standing.UNKNOWN
    await mine.refused(ONE, claim, "busy")
    second = await other.claim(ONE, 0)
    assert second == Claim(Standing.MINE, 2)
    await other.sent(ONE, second, "99")
    assert (await mine.claim(ONE, 0)).standing is Standing.SENT
    assert await mine.look(ONE) is Standing.SENT
    assert [key.removeprefix("_vortex/s@1/replays/s/7-2/") for key in sorted(store.objects)] == [
        "1-refused.json",
        "1.json",
        "2-sent.json",
        "2.json",
    ]


async def test_claim_of_unknown_outcome_is_given_again_when_asked_and_old() -> None:
    store = MemoryStore(VirtualClock())
    mine, other = (Receipts(store, "_vortex/s@1", Once(), run=run, by="test") for run in ("me", "other"))
    await mine.claim(ONE, 0)
    assert (await other.claim(ONE, IN_PROGRESS_MS - 1, resend_unknown=True)).standing is Standing.UNKNOWN
    assert (await other.claim(ONE, IN_PROGRESS_MS)).standing is Standing.UNKNOWN
    assert await other.claim(ONE, IN_PROGRESS_MS, resend_unknown=True) == Claim(Standing.MINE, 2)

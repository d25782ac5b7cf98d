"""Rejections are put back once, whatever fails, and a mended path loses nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from simulation import vtime
from simulation.memstream import MemoryStream
from tests.loops import MINUTE, World
from vortex.commands.existing_state import newest_life
from vortex.config.settings import Settings
from vortex.core.decode.rejections import LINE_BYTES
from vortex.core.model import HOUR_MS
from vortex.lookup.identity import reader_of
from vortex.lookup.receipts import IN_PROGRESS_MS, Receipts
from vortex.lookup.rejections import RejectionStore
from vortex.lookup.replay import Mended, Replay, Replayed, packed
from vortex.ports import PutOutcome, PutResult, Unavailable
from vortex.retry import Once
from vortex.runtime.assembly import policy_of
from vortex.verify.store import verify_store


class MemorySink:
    """A sink over the stream in memory. `outcomes` are those of the next calls, by record; else all are put."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.outcomes: list[list[PutOutcome]] = []
        self.put_data: list[bytes] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def put(self, records: Sequence[tuple[str, bytes]]) -> list[PutResult]:
        """See the port. A record of unknown outcome is put, and nobody is told."""
        self.meanwhile()
        wanted = self.outcomes.pop(0) if self.outcomes else []
        results = []
        for at, (key, data) in enumerate(records):
            outcome = wanted[at] if at < len(wanted) else PutOutcome.SENT
            if outcome in (PutOutcome.SENT, PutOutcome.UNKNOWN):
                self.stream.put(key, data)
                self.put_data.append(data)
            results.append(PutResult(outcome, "detail"))
        return results


class MendedWorld(World):
    """A world whose settings look for the customer at another path."""

    path = "c"

    def settings(self) -> Settings:
        """With that path."""
        settings = super().settings()
        return settings.model_copy(update={"event": settings.event.model_copy(update={"customer": (self.path,)})})


async def replayed(
    world: World,
    sink: MemorySink,
    run: str = "r",
    *,
    resend_unknown: bool = False,
    keep_rejected: bool = False,
    stop_in_put: bool = False,
) -> Replayed:
    """Replay everything that was rejected."""
    log_store, state = await newest_life(world.store, world.stream.name)
    policy = policy_of(world.settings(), state)
    rejections = RejectionStore(world.store, policy.layout)
    receipts = Receipts(world.store, log_store.root, Once(), run=run, by="test")
    replay = Replay(
        receipts,
        sink,
        Mended(reader_of(policy, state.seed)),
        world.clock,
        resend_unknown=resend_unknown,
        keep_rejected=keep_rejected,
    )
    if stop_in_put:
        sink.meanwhile = replay.stop
    return await replay.run(rejections.with_data(0, world.clock.now_ms() + HOUR_MS))


async def rejected_world(*, large: bool = False) -> tuple[MendedWorld, Counter[str]]:
    """A world in which a wrong path has rejected all events: plain ones, several in a record, compressed, too large for
    a line; and their ids.
    """
    world = MendedWorld(shards=2, period_ms=MINUTE, keep_ms=10 * HOUR_MS)
    world.path = "customer"
    worker = await world.begin()
    for n in range(60):
        events = [json.dumps({"c": f"c{n % 3}", "t": "v", "id": f"id-{n}-{part}"}) for part in range(1 + n % 3)]
        text = "\n".join(events).encode()
        world.stream.put(str(n), gzip.compress(text) if n % 5 == 0 else text)
        for event in events:
            world.sent[json.loads(event)["id"]] += 1
        await world.clock.sleep(3)
    if large:  # escaped, it does not fit into a rejection line: its bytes are beside it
        event = json.dumps({"c": "c0", "t": "v", "id": "large", "x": '"' * (2 * LINE_BYTES // 5)})
        world.stream.put("large", event.encode())
        world.sent["large"] += 1
    await world.clock.sleep(600)
    await worker.kill()
    assert world.lines("c=") == []
    return world, world.sent


async def finish(world: World) -> list[str]:
    """Run a worker over what was put back; the ids of all published lines."""
    worker = await world.begin()
    await world.clock.sleep(600)
    await worker.kill()
    assert (await verify_store(world.store)).faults == []
    return [json.loads(line)["id"] for line in world.lines("c=")]


def test_replay_after_mending_a_path_loses_nothing_and_publishes_nothing_twice() -> None:
    async def main() -> None:
        world, sent = await rejected_world(large=True)
        assert any("/records/" in key for key in world.store.objects)
        sink = MemorySink(world.stream)
        unmended = await replayed(world, sink)
        assert (unmended.sent, sum(unmended.still.values())) == (0, len(sent))
        world.path = "c"
        first = await replayed(world, sink, "r1")
        assert (first.sent, first.unknown, first.refused, first.missing) == (len(sent), 0, 0, 0)
        assert Counter(await finish(world)) == sent
        await world.clock.sleep(3 * 86400)  # beyond the window of deduplication
        again = await replayed(world, sink, "r2")
        assert (again.sent, again.before) == (0, len(sent))
        assert Counter(await finish(world)) == sent
        assert len(sink.put_data) == len(sent)

    vtime.run(main())


def test_replay_reports_unknown_outcomes_and_repeats_them_only_when_asked() -> None:
    async def main() -> None:
        world, sent = await rejected_world()
        world.path = "c"
        sink = MemorySink(world.stream)
        sink.outcomes = [[PutOutcome.UNKNOWN, PutOutcome.REFUSED, PutOutcome.BUSY]]
        first = await replayed(world, sink, "r1")
        assert (first.sent, first.unknown, first.refused) == (len(sent) - 2, 1, 1)
        assert len(first.named) == 2
        second = await replayed(world, sink, "r2", resend_unknown=True)  # may still be in progress
        assert (second.sent, second.unknown, second.before) == (1, 1, len(sent) - 2)
        await world.clock.sleep(IN_PROGRESS_MS / 1000)
        third = await replayed(world, sink, "r3")
        assert (third.sent, third.unknown) == (0, 1)
        fourth = await replayed(world, sink, "r4", resend_unknown=True)
        assert (fourth.sent, fourth.unknown, fourth.before) == (1, 0, len(sent) - 1)

    vtime.run(main())


def test_replay_stops_after_its_batch_and_leaves_nothing_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vortex.lookup.replay._BATCH", 10)

    async def main() -> None:
        world, sent = await rejected_world()
        world.path = "c"
        first = await replayed(world, MemorySink(world.stream), "r1", stop_in_put=True)
        assert (first.sent, first.unknown, first.stopped) == (10, 0, True)
        second = await replayed(world, MemorySink(world.stream), "r2")
        assert (second.sent, second.before, second.unknown, second.stopped) == (len(sent) - 10, 10, 0, False)
        assert Counter(await finish(world)) == sent

    vtime.run(main())


def test_replay_of_two_processes_at_once_puts_each_rejection_once() -> None:
    async def main() -> None:
        world, sent = await rejected_world()
        world.path = "c"
        sink = MemorySink(world.stream)

        async def nap(operation: str, key: str) -> None:
            if "/replays/" in key:
                await world.clock.sleep(world.rng.random())

        world.store.before = nap
        one, two = await asyncio.gather(replayed(world, sink, "r1"), replayed(world, sink, "r2"))
        assert one.sent + two.sent == len(sent)
        assert len(sink.put_data) == len(sent)

    vtime.run(main())


def test_replay_sends_nothing_when_a_receipt_cannot_be_put() -> None:
    async def main() -> None:
        world, _ = await rejected_world()
        world.path = "c"
        sink = MemorySink(world.stream)

        async def broken(operation: str, key: str) -> None:
            if operation == "put" and "/replays/" in key:
                raise Unavailable(key)

        world.store.before = broken
        with pytest.raises(Unavailable):
            await replayed(world, sink)
        assert sink.put_data == []

    vtime.run(main())


def test_packed_compresses_only_json_that_is_too_large_for_a_usual_record() -> None:
    large = json.dumps({"a": "x" * 2_000_000}).encode()
    assert gzip.decompress(packed(large)) == large
    assert packed(b"{}") == b"{}"
    binary = b"\xff" * 2_000_000
    assert packed(binary) == binary

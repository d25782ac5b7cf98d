"""`explain` against what the producer knows: a run with duplicates, rejections and late events."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from simulation import vtime
from tests.loops import MINUTE, World
from vortex.commands.existing_state import newest_life
from vortex.core.dedup.rows import part_of
from vortex.core.model import HOUR_MS
from vortex.lookup.answers import Answer, Copy, Fate, Verdict
from vortex.lookup.explain import Explainer, Scope
from vortex.lookup.identity import by_id, by_line
from vortex.lookup.logs import _part
from vortex.runtime.assembly import policy_of

PERIOD = 5 * MINUTE


@dataclass
class Producer:
    """Puts events, and remembers each send: shard, sequence number and arrival."""

    world: World
    rng: Random = field(default_factory=lambda: Random(7))
    lines: dict[str, bytes] = field(default_factory=dict)
    sends: defaultdict[str, list[tuple[str, str, int]]] = field(default_factory=lambda: defaultdict(list))
    broken: dict[str, str] = field(default_factory=dict)
    """By id, the reason for which an event must be rejected."""
    late: set[str] = field(default_factory=set)
    untimed: set[str] = field(default_factory=set)

    def event(self, number: int) -> str:
        """Make one; its id."""
        name, now = f"id-{number}", self.world.clock.now_ms()
        event = {"c": f"c{number % 5}", "t": f"t{number % 3}", "id": name, "at": now / 1000}
        kind = self.rng.random()
        if kind < 0.05:
            event["at"] = (now - 2 * HOUR_MS) / 1000
            self.late.add(name)
        elif kind < 0.08:
            event["at"] = "soon"
            self.untimed.add(name)
        elif kind < 0.12:
            del event["c"]
            self.broken[name] = "missing_customer"
        elif kind < 0.15:
            event["c"] = [1]
            self.broken[name] = "bad_customer"
        self.lines[name] = json.dumps(event).encode()
        if kind > 0.97:
            self.lines[name] += b"x"
            self.broken[name] = "not_json"
        return name

    def send(self, name: str, key: str | None = None) -> None:
        """Put it, by default on any shard."""
        data = self.lines[name]
        if self.rng.random() < 0.1:
            data = gzip.compress(data)
        shard, sequence = self.world.stream.put(key or str(self.rng.random()), data)
        self.sends[name].append((shard, sequence, self.world.clock.now_ms()))


async def produced(world: World, events: int) -> Producer:
    """The events, a fifth of them several times, soon or minutes later."""
    producer = Producer(world)
    for number in range(events):
        name = producer.event(number)
        key = str(producer.rng.random())
        producer.send(name, key)
        chance = producer.rng.random()
        if chance < 0.1:
            producer.send(name, key)  # on the same shard: dropped before the log
        elif chance < 0.2:
            producer.send(name)  # on any shard: dropped at publication, or before the log
        if number > 600 and chance > 0.9:
            producer.send(f"id-{number - producer.rng.randrange(100, 600)}")
        await world.clock.sleep(1.5)
    return producer


async def explainer_of(world: World, **scope: int) -> Explainer:
    """For the world's stream."""
    log_store, state = await newest_life(world.store, world.stream.name)
    policy = policy_of(world.settings(), state)
    return Explainer(log_store, state, policy, Scope(world.stream, **scope))


def line_at(world: World, key: str, number: int) -> bytes:
    """A line of an object."""
    return gzip.decompress(world.store.objects[key]).split(b"\n")[number - 1]


def check_accepted(world: World, producer: Producer, name: str, answer: Answer, *, known: bool) -> None:
    """Every send is in the answer, once, with its shard and sequence number; one of them is the published line."""
    shown = [(copy.shard, copy.sequence, copy.arrival) for copy in answer.copies]
    assert sorted(shown) == sorted(producer.sends[name]), name
    fates = [copy.fate for copy in answer.copies]
    assert fates.count(Fate.PUBLISHED) + fates.count(Fate.WAITING) >= 1, name
    for copy in answer.copies:
        check_copy(world, producer, name, copy)
    if known:
        assert answer.verdict is Verdict.PUBLISHED
        assert fates.count(Fate.PUBLISHED) == 1, name


def check_copy(world: World, producer: Producer, name: str, copy: Copy) -> None:
    """What is said of one send."""
    place = (copy.object, copy.line)
    if copy.fate is Fate.PUBLISHED:
        assert line_at(world, copy.object, copy.line or 0) == producer.lines[name]
    if copy.fate in (Fate.DUPLICATE, Fate.FILTERED) and copy.of:
        key, _, number = copy.of.rpartition(" line ")
        assert line_at(world, key, int(number)) == producer.lines[name]
        assert place == ("", None)
    if copy.fate in (Fate.PUBLISHED, Fate.WAITING):
        expected = "late" if name in producer.late else "untimed" if name in producer.untimed else ""
        own = int(json.loads(producer.lines[name])["at"] * 1000) // PERIOD * PERIOD if not expected else None
        assert copy.placed == expected or (own is not None and copy.placed in ("late", "early")), (name, copy)
        assert (own is None) or (own == copy.period) == (not copy.placed)


def check_rejected(producer: Producer, name: str, answer: Answer) -> None:
    """Every send is a rejection with its reason, shard and sequence number."""
    assert answer.verdict is Verdict.REJECTED, name
    assert answer.copies == []
    found = [(one.reason, one.shard, one.sequence, one.arrival) for one in answer.rejections]
    assert sorted(found) == sorted((producer.broken[name], *send) for send in producer.sends[name]), name


async def check_all(world: World, producer: Producer, names: list[str], *, known: bool) -> Counter[str]:
    """Explain each, by id or by its line, and compare with what was sent. Returns the number of sends by their fate."""
    became = Counter[str]()
    explainer = await explainer_of(world)
    _, state = await newest_life(world.store, world.stream.name)
    policy = policy_of(world.settings(), state)
    for at, name in enumerate(names):
        if name in producer.broken:
            (wanted,) = by_line(producer.lines[name], policy, explainer.reader)[-1:]
            assert wanted.would_be.startswith(producer.broken[name])
            answer = await explainer.explain(wanted)
            check_rejected(producer, name, answer)
            became["rejected"] += len(answer.rejections)
            continue
        customer = json.loads(producer.lines[name])["c"]
        if at % 2:
            (wanted,) = by_line(producer.lines[name], policy, explainer.reader)
            assert (wanted.customer, wanted.id) == (customer, name)
        else:
            wanted = by_id(customer, name, state.seed)
        answer = await explainer.explain(wanted)
        check_accepted(world, producer, name, answer, known=known)
        became.update(copy.placed or copy.fate for copy in answer.copies)
    return became


def test_explain_says_the_truth_about_a_thousand_random_events() -> None:
    """Duplicates at ingest and at publication, rejections, late and untimed events; in bundles and in other objects."""

    async def main() -> None:
        world = World(shards=3, keep_ms=10 * HOUR_MS, bundle=600)
        worker = await world.begin()
        producer = await produced(world, 1300)
        await world.clock.sleep(1200)
        await worker.kill()
        names = producer.rng.sample(sorted(producer.lines), 1000)
        became = await check_all(world, producer, names, known=True)
        assert min(became[kind] for kind in ("published", "duplicate", "filtered", "rejected", "late", "untimed")) > 15
        assert sum(became.values()) == sum(len(producer.sends[name]) for name in names) > 1050
        assert len(world.lines("_bundles/")) > 100 and len(world.lines("c=")) > 100

    vtime.run(main())


def test_explain_finds_waiting_and_unread_events_when_the_worker_stands_still() -> None:
    async def main() -> None:
        world = World(shards=2, keep_ms=10 * HOUR_MS)
        worker = await world.begin()
        producer = await produced(world, 120)
        await world.clock.sleep(40)
        await worker.kill()
        unread = producer.event(5000)
        producer.broken.pop(unread, None)
        became = await check_all(world, producer, sorted(set(producer.lines) - {unread}), known=False)
        assert became["waiting"] > 30
        assert became["rejected"] > 5
        explainer = await explainer_of(world)
        answer = await explainer.explain(by_id("c0", unread, explainer_seed(explainer)))
        assert (answer.verdict, answer.copies) == (Verdict.NOT_SEEN, [])
        assert [(one.shard, one.state) for one in answer.shards] == [
            ("shardId-000000000000", "open"),
            ("shardId-000000000001", "open"),
        ]
        upto = {
            shard: max(at for sends in producer.sends.values() for s, _, at in sends if s == shard)
            for shard in ("shardId-000000000000", "shardId-000000000001")
        }
        assert all(one.watermark is not None and one.watermark >= upto[one.shard] - 1 for one in answer.shards)

    vtime.run(main())


def explainer_seed(explainer: Explainer) -> int:
    """The seed of the stream's keys."""
    return explainer._state.seed


@pytest.mark.parametrize("bundle", [0, 1 << 20])
def test_explain_finds_the_line_in_objects_when_the_logs_are_cleaned_up(bundle: int) -> None:
    async def main() -> None:
        world = World(shards=2, keep_ms=0, window_ms=10 * MINUTE, bundle=bundle)
        worker = await world.begin()
        producer = await produced(world, 200)
        await world.clock.sleep(6 * 3600)
        await worker.kill()
        name = next(name for name in producer.lines if name not in producer.broken | dict.fromkeys(producer.late))
        sent = producer.sends[name][0][2]
        customer = json.loads(producer.lines[name])["c"]
        blind = await explainer_of(world)
        wanted = by_id(customer, name, explainer_seed(blind))
        answer = await blind.explain(wanted)
        assert answer.verdict is Verdict.NOT_SEEN
        assert any("--around" in note for note in answer.notes)
        sighted = await explainer_of(world, since=sent - HOUR_MS, until=sent + HOUR_MS)
        (copy,) = (await sighted.explain(wanted)).copies
        assert copy.fate is Fate.PUBLISHED
        assert line_at(world, copy.object, copy.line or 0) == producer.lines[name]
        assert copy.object.startswith("_bundles/" if bundle else "c=")
        broken = next(iter(producer.broken))
        (given, *_) = by_line(producer.lines[broken], policy_of(world.settings(), sighted._state), sighted.reader)
        found = await sighted.explain(given)
        assert (found.verdict, found.rejections[0].exact) == (Verdict.REJECTED, True)

    vtime.run(main())


def test_explain_finds_every_copy_when_deduplication_is_off() -> None:
    async def main() -> None:
        world = World(shards=2, keep_ms=10 * HOUR_MS, window_ms=0)
        worker = await world.begin()
        line = b'{"c":"a","t":"t","id":"1"}'
        for _ in range(3):
            world.stream.put(str(world.rng.random()), line)
            await world.clock.sleep(100)
        await world.clock.sleep(1200)
        await worker.kill()
        explainer = await explainer_of(world)
        answer = await explainer.explain(by_id("a", "1", explainer_seed(explainer)))
        assert [copy.fate for copy in answer.copies] == [Fate.PUBLISHED] * 3
        places = {(copy.object, copy.line) for copy in answer.copies}
        assert len(places) == 3
        assert all(line_at(world, key, number or 0) == line for key, number in places)

    vtime.run(main())


@pytest.mark.parametrize("parts", [1, 2, 8])
def test_part_of_a_key_is_that_of_the_decision_files(parts: int) -> None:
    high = np.array([0, 1, 2**61, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert [_part(one, parts) for one in high.tolist()] == part_of(high, parts).tolist()

"""Damage to what was decided on duplicates, planted in a store that holds every invariant: the proof finds each."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.core.dedup.decided import TRAILER, parse
from vortex.core.invariants import Invariant
from vortex.core.publish.plan import Plan
from vortex.verify.published import Report
from vortex.verify.store import verify_store

Objects = dict[str, bytes]


@lru_cache
def published(window_ms: int) -> Objects:
    """What is in a store after five minutes: an event a second, and most of them again, mostly on another shard."""

    async def scenario() -> Objects:
        world = World(shards=2, period_ms=MINUTE, window_ms=window_ms, keep_ms=10**9)
        worker = await world.begin()
        for at in range(150):
            world.put(f"id{len(world.sent)}")
            world.put(f"id{max(0, len(world.sent) - 15)}", f"again {at}")
            await world.clock.sleep(2)
        await world.clock.sleep(130)
        await worker.kill()
        return world.store.objects

    return vtime.run(scenario())


def proved(objects: Objects) -> Report:
    """What is found in such a store."""

    async def scenario() -> Report:
        store = MemoryStore(vtime.VirtualClock())
        for key, body in objects.items():
            store.put_now(key, body)
        return await verify_store(store)

    return vtime.run(scenario())


def decisions(objects: Objects) -> list[str]:
    """The keys of all files, in order."""
    return sorted(key for key in objects if "/dedup/" in key)


def since(objects: Objects) -> int:
    """Of the last plan."""
    last = max(key for key in objects if key.endswith("/plan.json"))
    return msgspec.json.decode(objects[last], type=Plan).since


def _flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def _other_version(body: bytes) -> bytes:
    digest, length, version, magic = TRAILER.unpack(body[-TRAILER.size :])
    return body[: -TRAILER.size] + TRAILER.pack(digest, length, version + 8, magic)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a key is changed": lambda body: _flipped(body, 3),
    "a dropped row is changed": lambda body: _flipped(body, parse(body, len(body), "").dropped_range[0]),
    "its end is changed": lambda body: _flipped(body, len(body) - TRAILER.size - 4),
    "it is cut": lambda body: body[: len(body) // 2],
    "it is empty": lambda body: b"",
    "it is of another version": _other_version,
}


WINDOWS = pytest.mark.parametrize("window_ms", [10 * MINUTE, 20_000], ids=["held against", "by itself"])


@WINDOWS
def test_what_is_whole_has_no_fault(window_ms: int) -> None:
    report = proved(published(window_ms))
    assert report.faults == []
    assert report.checked["plans decided again"] >= 4


@pytest.mark.parametrize("what", DAMAGE)
@WINDOWS
def test_a_damaged_file_is_found(what: str, window_ms: int) -> None:
    """Whether the next plans are held against it or not; the second and the last, of which none comes after it."""
    objects = published(window_ms)
    for key in (decisions(objects)[1], decisions(objects)[-1]):
        report = proved(objects | {key: DAMAGE[what](objects[key])})
        assert key in {fault.key for fault in report.faults}, key


def test_a_missing_file_is_found_where_it_cannot_have_been_cleaned_up() -> None:
    """Those before the last plan's `since` may be gone."""
    objects = published(20_000)
    found, needed = [], []
    for key in decisions(objects):
        report = proved({name: body for name, body in objects.items() if name != key})
        found.append(key in {fault.key for fault in report.faults})
        needed.append(int(key.rpartition("/")[2].partition("-")[0]) >= since(objects))
    assert found == needed
    assert any(needed) and not all(needed)


def test_files_that_changed_places_are_found() -> None:
    objects = published(10 * MINUTE)
    one, other = decisions(objects)[-2:]
    report = proved(objects | {one: objects[other], other: objects[one]})
    assert {one, other} <= {fault.key for fault in report.faults}


@pytest.mark.parametrize("in_totals", [False, True])
def test_counts_that_do_not_follow_are_found(in_totals: bool) -> None:
    """Though all that is accepted is published or dropped."""
    objects = published(10 * MINUTE)
    dones = sorted(key for key in objects if key.endswith("/done.json"))
    key = next(key for key in dones if msgspec.json.decode(objects[key])["totals"]["dropped"])
    document: Any = msgspec.json.decode(objects[key])
    counts = next(iter(document["periods"].values()))
    for name in ("events", "accepted", "dropped"):
        counts[name] += 1
    document["totals"]["dropped"] += in_totals
    report = proved(objects | {key: msgspec.json.encode(document)})
    told = key if not in_totals else f"plan {int(key.split('/')[-2])}"
    assert (Invariant.SUMS_AGREE, told) in {(fault.invariant, fault.key) for fault in report.faults}

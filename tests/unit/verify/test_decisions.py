"""Verification of deduplication finds each kind of damage, planted in a store that holds every invariant."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.core.dedup.decided import DECISION_TRAILER, parse
from vortex.core.invariants import Invariant
from vortex.core.log.trailer import OtherVersion
from vortex.core.publish.plan import Plan
from vortex.verify.report import Report
from vortex.verify.store import verify_store

Objects = dict[str, bytes]


@lru_cache
def published(window_ms: int) -> Objects:
    """A store after five minutes: an event every two seconds, most of them repeated, mostly on another shard."""

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


def verified(objects: Objects) -> Report:
    """The report on such a store."""

    async def scenario() -> Report:
        store = MemoryStore(vtime.VirtualClock())
        for key, body in objects.items():
            store.put_now(key, body)
        return await verify_store(store)

    return vtime.run(scenario())


def decisions(objects: Objects) -> list[str]:
    """The keys of all decision files, in order."""
    return sorted(key for key in objects if "/dedup/" in key)


def since(objects: Objects) -> int:
    """The `since` of the last plan."""
    last = max(key for key in objects if key.endswith("/plan.json"))
    return msgspec.json.decode(objects[last], type=Plan).since


def _flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def _other_version(body: bytes) -> bytes:
    at = len(body) - 12  # after the digest and the length; before the magic
    return body[:at] + struct.pack("<I", DECISION_TRAILER.version(body) + 8) + body[at + 4 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a key is changed": lambda body: _flipped(body, 3),
    "a dropped row is changed": lambda body: _flipped(body, parse(body, len(body), "").dropped_range[0]),
    "its end is changed": lambda body: _flipped(body, len(body) - DECISION_TRAILER.size - 4),
    "it is cut": lambda body: body[: len(body) // 2],
    "it is empty": lambda body: b"",
}


WINDOWS = pytest.mark.parametrize("window_ms", [10 * MINUTE, 20_000], ids=["held against", "by itself"])


@WINDOWS
def test_verify_reports_no_fault_when_the_decisions_are_intact(window_ms: int) -> None:
    report = verified(published(window_ms))
    assert report.faults == []
    assert report.checked["plans decided again"] >= 4


@pytest.mark.parametrize("what", DAMAGE)
@WINDOWS
def test_verify_finds_a_damaged_decision_file(what: str, window_ms: int) -> None:
    """Whether later plans depend on it or not: the second file, and the last one."""
    objects = published(window_ms)
    for key in (decisions(objects)[1], decisions(objects)[-1]):
        report = verified(objects | {key: DAMAGE[what](objects[key])})
        assert key in {fault.key for fault in report.faults}, key


def test_verify_refuses_a_decision_file_of_another_version() -> None:
    objects = published(20_000)
    key = decisions(objects)[1]
    with pytest.raises(OtherVersion, match=rf"^{key}: format version 9; .* run the newer one"):
        verified(objects | {key: _other_version(objects[key])})


def test_verify_finds_a_missing_decision_file_that_cannot_have_been_cleaned_up() -> None:
    """Files before the `since` of the last plan may be gone."""
    objects = published(20_000)
    found, needed = [], []
    for key in decisions(objects):
        report = verified({name: body for name, body in objects.items() if name != key})
        found.append(key in {fault.key for fault in report.faults})
        needed.append(int(key.rpartition("/")[2].partition("-")[0]) >= since(objects))
    assert found == needed
    assert any(needed) and not all(needed)


def test_verify_finds_decision_files_that_are_swapped() -> None:
    objects = published(10 * MINUTE)
    one, other = decisions(objects)[-2:]
    report = verified(objects | {one: objects[other], other: objects[one]})
    assert {one, other} <= {fault.key for fault in report.faults}


@pytest.mark.parametrize("in_totals", [False, True])
def test_verify_finds_counts_that_do_not_follow_from_the_decisions(in_totals: bool) -> None:
    """Although every accepted event is published or dropped."""
    objects = published(10 * MINUTE)
    dones = sorted(key for key in objects if key.endswith("/done.json"))
    key = next(key for key in dones if msgspec.json.decode(objects[key])["totals"]["dropped"])
    document: Any = msgspec.json.decode(objects[key])
    counts = next(iter(document["periods"].values()))
    for name in ("events", "accepted", "dropped"):
        counts[name] += 1
    document["totals"]["dropped"] += in_totals
    report = verified(objects | {key: msgspec.json.encode(document)})
    expected = key if not in_totals else f"plan {int(key.split('/')[-2])}"
    assert (Invariant.SUMS_AGREE, expected) in {(fault.invariant, fault.key) for fault in report.faults}


def test_verify_finds_an_id_that_two_plans_publish_within_the_window() -> None:
    """Also where the second plan says that it need not be compared with the first."""
    with patch("vortex.core.publish.plan.needed_from", lambda arrived, after, window, reach: 1 << 62):
        objects = published.__wrapped__(10 * MINUTE)
    faults = verified(objects).faults
    assert {fault.invariant for fault in faults} == {Invariant.COMPLETE_AND_ONCE}
    assert {fault.what for fault in faults} == {"publishes an id again within the window"}

"""Verification of published objects against their segments, and the requests that it makes."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import Counter

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.commands.standing import NoState, begun
from vortex.core.invariants import Invariant
from vortex.core.log.segment import lz4_frame
from vortex.exits import Exit
from vortex.ports import NotFound
from vortex.verify.published import Report
from vortex.verify.store import verify_store

CUSTOMERS = 40
OTHER_LINES = "its lines differ from those in its segments"


async def published() -> World:
    """A store with objects of many customers, each in one shard, with every segment still stored."""
    world = World(period_ms=MINUTE, keep_ms=10**9)
    worker = await world.begin()
    for number in range(300):
        event = {"c": f"customer-{number % CUSTOMERS}", "t": "view", "id": f"id{number}"}
        world.stream.put(event["c"], json.dumps(event).encode())
        await world.clock.sleep(0.5)
    await world.clock.sleep(600)
    await worker.kill()
    return world


def faults(report: Report, key: str) -> list[str]:
    """The faults of one key."""
    return [fault.what for fault in report.faults if fault.key == key]


async def verified_with_counts(world: World, gone: tuple[str, int] | None = None) -> tuple[Report, Counter[str]]:
    """The report, and how often each key was read; `gone`: a key that is missing from the given read on."""
    asked: Counter[str] = Counter()

    async def count(operation: str, key: str) -> None:
        asked[key] += operation == "get"
        if gone is not None and key == gone[0] and asked[key] >= gone[1]:
            raise NotFound(f"{key}: cleaned up")

    seen = MemoryStore(world.clock, count)
    vars(seen).update({name: part for name, part in vars(world.store).items() if name != "before"})
    return await verify_store(seen), asked


def test_verify_reports_a_fault_when_the_prefix_has_no_state() -> None:
    """Nothing can be verified there."""

    async def scenario() -> None:
        world = World()
        (fault,) = (await verify_store(world.store)).faults
        assert (fault.invariant, fault.key) == (Invariant.STATE_IS_THERE, world.store.url)
        assert fault.what == ("holds no Vortex state, so there is nothing to verify; it is empty")
        await world.store.put_if_absent("customer=a/x.json.gz", b"")
        await world.store.put_if_absent("_vortex/_check/x", b"")
        (fault,) = (await verify_store(world.store)).faults
        assert "it holds other objects, such as _vortex/_check/x" in fault.what

    vtime.run(scenario())


def test_verify_reports_a_fault_when_the_state_is_of_another_stream() -> None:
    async def scenario() -> None:
        world = await published()
        name = (await world.stream.describe()).name
        assert (await verify_store(world.store, name)).faults == []
        (fault,) = (await verify_store(world.store, "other")).faults
        assert "not of stream other" in fault.what
        assert name in fault.what

    vtime.run(scenario())


def test_verify_reports_a_fault_when_the_stream_document_is_missing() -> None:
    """The logs may be there, but where the stream starts is lost."""

    async def scenario() -> None:
        world = await published()
        (key,) = [key for key in world.store.objects if key.endswith("/stream.json")]
        await world.store.delete([key])
        assert faults(await verify_store(world.store), key) == ["is missing; the state was lost"]

    vtime.run(scenario())


def test_begun_names_the_stream_whose_state_it_finds_when_it_is_another() -> None:
    """With an exit code other than 0: no state, another stream's, an earlier stream's."""

    async def scenario() -> None:
        world = await published()
        info = await world.stream.describe()
        assert (await begun(world.store, info))[1].stream == info.name
        for other, code, message in (
            (dataclasses.replace(info, name="other"), Exit.LOST_STATE, f"holds the state of stream {info.name}"),
            (dataclasses.replace(info, created_ms=info.created_ms + 5000), Exit.FAILED, "an earlier stream"),
        ):
            with pytest.raises(NoState, match=message) as caught:
                await begun(world.store, other)
            assert caught.value.code == code
        with pytest.raises(NoState, match=r"start it with `vortex run`, or check store.url") as caught:
            await begun(World().store, info)
        assert caught.value.code == Exit.FAILED

    vtime.run(scenario())


def test_verify_reads_a_segment_once_for_all_objects_of_a_plan() -> None:
    """However many objects there are."""

    async def scenario() -> None:
        world = await published()
        report, asked = await verified_with_counts(world)
        assert report.faults == []
        assert report.checked["objects"] >= 2 * CUSTOMERS
        segments = [key for key in asked if key.endswith(".seg") and asked[key]]
        assert len(segments) > 3
        assert max(asked[key] for key in segments) <= 7, (
            "footer, data, ids; two plans at the border of a period, their ids and their objects"
        )

    vtime.run(scenario())


def test_verify_finds_changed_lines_of_equal_length() -> None:
    """By the published digest, and by the segments."""

    async def scenario() -> None:
        world = await published()
        key = next(key for key in sorted(world.store.objects) if key.startswith("c="))
        lines = gzip.decompress(world.store.objects[key])
        world.store.objects[key] = gzip.compress(lines.replace(b'"view"', b'"vieW"'))
        report = await verify_store(world.store)
        assert [fault.key for fault in report.faults] == [key] * 2
        assert faults(report, key) == [
            "its bytes changed after it was published",
            OTHER_LINES,
        ]

    vtime.run(scenario())


def test_verify_reports_an_object_that_is_not_gzip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it was published so, in a format that a segment may have."""

    async def scenario() -> None:
        monkeypatch.setattr("vortex.publish.object_writer.compress", lz4_frame)
        world = await published()
        keys = [key for key in world.store.objects if key.startswith("c=")]
        assert any(world.store.objects[key][:2] != b"\x1f\x8b" for key in keys)
        report = await verify_store(world.store)
        for key in keys:
            not_gzip = [what for what in faults(report, key) if what.startswith("is not a complete gzip file")]
            assert len(not_gzip) == (world.store.objects[key][:2] != b"\x1f\x8b")

    vtime.run(scenario())


def test_verify_checks_the_other_objects_of_a_plan_when_a_segment_is_cleaned_up() -> None:
    """Objects made of other segments are still compared with them."""

    async def scenario() -> None:
        world = await published()
        for key in [key for key in world.store.objects if key.startswith("c=")]:
            lines = gzip.decompress(world.store.objects[key])
            world.store.objects[key] = gzip.compress(lines.replace(b'"view"', b'"vieW"'))
        report, asked = await verified_with_counts(world)
        everything = {fault.key for fault in report.faults if fault.what == OTHER_LINES}
        most = max((key for key in asked if key.endswith(".seg")), key=lambda key: (asked[key], key))
        report, _ = await verified_with_counts(world, (most, asked[most]))
        found = {fault.key for fault in report.faults if fault.what == OTHER_LINES}
        lacking = everything - found
        periods = {key.rpartition("/")[2] for key in lacking}
        assert lacking
        assert any(key.rpartition("/")[2] in periods for key in found), "of the same plan"

    vtime.run(scenario())

"""Verification of published objects against their segments, and the requests that it makes."""

from __future__ import annotations

from simulation import vtime
from tests.loops import World
from tests.published_store import CUSTOMERS, faults, published, verified_with_counts
from vortex.core.invariants import Invariant
from vortex.verify.store import Keys, missing, verify_store


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


def test_missing_finds_a_stray_file_whose_name_is_not_utf8() -> None:
    """A disk may have one. Its name is decoded with `surrogateescape`, and used to end `vortex verify`."""
    keys = Keys()
    keys.add(["known"])
    assert missing(["known", "stray\udcff"], keys.sorted()) == ["stray\udcff"]


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

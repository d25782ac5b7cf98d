"""Published objects against the segments that they are made of."""

from __future__ import annotations

import gzip

import pytest

from simulation import vtime
from tests.published_store import faults, published, verified_with_counts
from vortex.core.log.segment import lz4_frame
from vortex.verify.store import verify_store

OTHER_LINES = "its lines differ from those in its segments"


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
        monkeypatch.setattr("vortex.core.log.streaming.compress", lambda text, _: lz4_frame(text))
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

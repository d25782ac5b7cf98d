"""Published objects against the segments that they are made of."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from simulation import vtime
from tests.loops import World
from tests.published_store import CUSTOMERS, faults, published, verified_with_counts
from vortex.core.compression import Compression
from vortex.core.log.segment import decompress_object, lz4_frame
from vortex.core.log.streaming import members_in
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
        monkeypatch.setattr("vortex.publish.object_writer.compress", lambda text, _: lz4_frame(text))
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


BUNDLES = 1 << 20


def bundles(world: World) -> list[str]:
    """The keys of all bundles."""
    return sorted(key for key in world.store.objects if key.startswith("_bundles/"))


@pytest.mark.parametrize("compression", Compression)
def test_verify_proves_the_partitions_of_bundles(compression: Compression) -> None:
    """Each is a file by itself, and its lines are those that were sent; requests do not grow with the partitions."""

    async def scenario() -> None:
        world = await published(3700, bundle=BUNDLES, compression=compression)
        report = await verify_store(world.store)
        assert not report.faults
        keys = bundles(world)
        assert report.checked["objects"] == len(keys) < 10
        assert report.checked["rows"] == 300
        assert not [key for key in world.store.objects if key.startswith(("c=", "_manifests/c="))]
        sent: dict[str, list[str]] = {}
        for number in range(300):
            sent.setdefault(f"customer-{number % CUSTOMERS}", []).append(f"id{number}")
        manifests = [json.loads(world.store.objects[key]) for key in world.store.objects if key.startswith("_hours/")]
        rows = [row for manifest in manifests for row in manifest["partitions"]]
        assert rows and all("manifest" not in row for row in rows)
        assert {manifest["version"] for manifest in manifests if manifest["partitions"]} == {3}
        for row in rows:
            lines = []
            for part in row["files"]:
                body = world.store.objects[part["key"]][part["offset"] : part["offset"] + part["bytes"]]
                some = decompress_object(body, "x").splitlines()
                assert len(some) == part["rows"]
                lines += [json.loads(line)["id"] for line in some]
            assert lines == sent.pop(row["customer"])
            assert (row["rows"], row["objects"]) == (len(lines), len(row["files"]))
        closed = {row["customer"] for row in rows}
        assert len(closed) == CUSTOMERS and not sent
        assert {key for row in rows for key in [part["key"] for part in row["files"]]} <= set(keys)

    vtime.run(scenario())


def _exchanged_bytes(world: World, key: str) -> str:
    """Those of two members of the same size."""
    parts = members_in(world.store.objects[key], key)
    one, other = next((a, b) for a, b in combinations(range(len(parts)), 2) if len(parts[a]) == len(parts[b]))
    parts[one], parts[other] = parts[other], parts[one]
    world.store.objects[key] = b"".join(parts)
    return OTHER_LINES


def _gone(world: World, key: str) -> str:
    world.store.delete_now(key)
    return "is missing, though it was published"


def _longer(world: World, key: str) -> str:
    """By lines of nobody."""
    world.store.objects[key] += gzip.compress(b"{}\n")
    return "has bytes that are of no partition, or of two"


def _edited(edit: Callable[[list[dict[str, Any]]], None]) -> Callable[[World, str], str]:
    def do(world: World, key: str) -> str:
        for name in [name for name in world.store.objects if name.endswith("/done.json")]:
            document = json.loads(world.store.objects[name])
            rows = [row for row in document["objects"] if row["key"] == key]
            others = [row for row in document["objects"] if row["key"] != key]
            if rows:
                edit(rows)
                document["objects"] = others + rows
                world.store.objects[name] = json.dumps(document).encode()
        return ""

    return do


def _counted_twice(rows: list[dict[str, Any]]) -> None:
    rows.append(dict(rows[0]))


def _left_out(rows: list[dict[str, Any]]) -> None:
    del rows[1]


def _exchanged(rows: list[dict[str, Any]]) -> None:
    rows[0]["folder"], rows[1]["folder"] = rows[1]["folder"], rows[0]["folder"]


def _overlapping(rows: list[dict[str, Any]]) -> None:
    rows[1]["at"] = 0


@pytest.mark.parametrize(
    "damage",
    [_exchanged_bytes, _gone, _longer, *map(_edited, (_counted_twice, _left_out, _exchanged, _overlapping))],
)
def test_verify_finds_a_damaged_bundle(damage: Callable[[World, str], str]) -> None:
    """Its bytes, or what done.json says of them."""

    async def scenario() -> None:
        world = await published(bundle=BUNDLES)
        key = max(bundles(world), key=lambda name: len(world.store.objects[name]))
        what = damage(world, key)
        report = await verify_store(world.store)
        assert report.faults
        if what:
            assert what in faults(report, key)

    vtime.run(scenario())


def test_verify_finds_a_bundle_of_no_plan() -> None:
    async def scenario() -> None:
        world = await published(bundle=BUNDLES)
        key = bundles(world)[0].replace("-000-000", "-000-001")
        await world.store.put_if_absent(key, gzip.compress(b"{}\n"), "")
        assert faults(await verify_store(world.store), key) == ["is named by no plan"]

    vtime.run(scenario())


def test_verify_counts_a_bundle_in_progress_as_one_object() -> None:
    """And knows its key, so that it is none that nobody wrote."""

    async def scenario() -> None:
        world = await published(90, bundle=BUNDLES)
        last = max(key for key in world.store.objects if key.endswith("/done.json"))
        assert len(json.loads(world.store.objects[last])["objects"]) > 1
        await world.store.delete([last])
        report = await verify_store(world.store)
        assert (report.faults, report.checked["objects in progress"]) == ([], 1)

    vtime.run(scenario())


def test_verify_accepts_published_events_with_lone_surrogates() -> None:
    """They are kept by default (`event.lone_surrogates`), with their bytes unchanged."""

    async def scenario() -> None:
        world = World(shards=1)
        fields: list[dict[str, Any]] = [{"x": "\ud83d"}, {"\ude00": 1}, {"x": [{"y": "a\udfff"}]}]
        for number, extra in enumerate(fields):
            world.stream.put("k", json.dumps({"c": "c", "t": "v", "id": f"{number}", **extra}).encode())
            world.sent[f"{number}"] += 1
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())

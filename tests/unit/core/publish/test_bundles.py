"""Which partitions share an object, and which."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.publish.test_members import plan_of
from vortex.core.compression import Compression
from vortex.core.log.rules import SegmentHeader
from vortex.core.publish.bundles import BUNDLE_BYTES, BUNDLE_MEMBERS, bundle_numbers, units
from vortex.core.publish.members import members_of, objects
from vortex.core.publish.pieces import ObjectSpec
from vortex.core.publish.plan import LogView, Plan


def numbers(
    sizes: list[int], target: int, own: frozenset[int] = frozenset(), periods: list[int] | None = None
) -> list[int]:
    """The bundle of each partition, which has one member."""
    apart = np.array([at in own for at in range(len(sizes))], dtype=bool)
    its = np.array(periods or [0] * len(sizes))
    return bundle_numbers(its, np.array(sizes), np.ones(len(sizes), dtype=np.int64), apart, target).tolist()


def test_bundle_numbers_cut_at_the_target_and_begin_anew_in_each_period() -> None:
    assert numbers([40, 40, 40, 40, 40], 100) == [0, 0, 0, 1, 1]
    assert numbers([40, 40, 40, 40, 40], 100, periods=[0, 0, 0, 60, 60]) == [0, 0, 0, 0, 0]
    assert numbers([40, 40, 500, 40, 40], 100, own=frozenset({2})) == [0, 0, -1, 0, 1]
    assert numbers([], 100) == []


def test_a_bundle_has_bounded_bytes_and_members_however_large_objects_may_be() -> None:
    """Both are in memory as a whole."""
    sizes = [BUNDLE_BYTES // 4] * 9
    assert numbers(sizes, 1 << 40) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert np.bincount(numbers([1] * (3 * BUNDLE_MEMBERS), 1 << 40)).max() <= BUNDLE_MEMBERS


def test_units_are_whole_bundles_and_partitions_in_none() -> None:
    periods = np.array([0, 0, 0, 60, 60, 60])
    assert units(periods, np.array([0, 0, 1, 1, -1, -1])).tolist() == [0, 2, 3, 4, 5, 6]
    assert units(periods[:0], periods[:0]).tolist() == [0]


def bundling(plan: Plan, most: int) -> Plan:
    """The plan with bundles."""
    return msgspec.structs.replace(plan, bundle=most)


def lines(specs: list[ObjectSpec]) -> dict[tuple[str, int], list[tuple[str, int, int, int]]]:
    """By folder and period its pieces."""
    found: dict[tuple[str, int], list[tuple[str, int, int, int]]] = {}
    for spec in specs:
        pieces = [(p.shard, p.n, p.offset, p.begin) for p in spec.pieces]
        found.setdefault((spec.folder.path, spec.period), []).extend(pieces)
    return found


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 30, 60, 10**6]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 5, 1000]),
)
def test_bundles_hold_every_small_partition_once_for_any_number_of_ranges(
    seed: int, most: int, ranges: int, chunk: int
) -> None:
    """The pieces of each partition are those without bundles; a bundle is never cut by the pieces of memory."""
    plan, views = plan_of(seed)
    plain = lines(objects(plan, views, {}))
    plan = msgspec.structs.replace(bundling(plan, most), ranges=ranges)
    found: list[ObjectSpec] = []
    for number in range(ranges):
        members = members_of(plan, views, {}, number)
        chunks = [members.objects(plan.target, *bounds) for bounds in members.chunks(most=chunk)]
        keys = [{spec.key for spec in some} for some in chunks]
        assert sum(map(len, keys)) == len(set().union(*keys)), "no bundle in two chunks"
        found += [spec for some in chunks for spec in some]
    assert lines(found) == plain
    sizes: Counter[tuple[str, int]] = Counter()
    for spec in found:
        sizes[spec.folder.path, spec.period] += sum(piece.size for piece in spec.pieces)
    for spec in found:
        assert spec.bundled == spec.key.startswith("_bundles/") == (sizes[spec.folder.path, spec.period] < most)
    places = [(spec.key, spec.folder.path) for spec in found if spec.bundled]
    assert len(places) == len(set(places))


def test_a_bundle_does_not_depend_on_what_was_dropped() -> None:
    """So that its name is a function of the plan; a partition without lines is left out."""
    plan, views = plan_of(3)
    plan = bundling(plan, 10**6)
    whole = {spec.folder.path + str(spec.period): spec.key for spec in objects(plan, views, {})}
    assert len(set(whole.values())) > 2, "several bundles"
    rng, dropped = Random(4), {}
    for shard, view in views.items():
        for head in view.headers:
            rows = sum(head.footer.member_rows["rows"].tolist())
            dropped[shard, head.n] = np.array([row for row in range(rows) if rng.random() < 0.7], dtype=np.int64)
    left = {spec.folder.path + str(spec.period): spec.key for spec in objects(plan, views, dropped)}
    assert 0 < len(left) < len(whole)
    assert left.items() <= whole.items()


def marked(views: dict[str, LogView], **marks: object) -> dict[str, LogView]:
    """The logs with a mark on every folder."""
    heads = {
        name: [
            SegmentHeader(
                head.shard,
                head.n,
                head.digest,
                msgspec.structs.replace(
                    head.footer, folders=[msgspec.structs.replace(folder, **marks) for folder in head.footer.folders]
                ),
            )
            for head in view.headers
        ]
        for name, view in views.items()
    }
    return {name: LogView(headers) for name, headers in heads.items()}


def test_rejections_and_shared_folders_are_never_bundled() -> None:
    plan, views = plan_of(5)
    plan = bundling(plan, 10**6)
    assert all(spec.bundled for spec in objects(plan, views, {}))
    assert not any(spec.bundled for spec in objects(plan, marked(views, rejected=True), {}))
    hashes = {spec.folder.hash for spec in objects(plan, views, {})}
    chosen = min(hashes)
    shared = msgspec.structs.replace(plan, shared=(chosen,), ranges=2, hashed=1, cuts=(("a", 3),))
    specs = [spec for number in range(2) for spec in objects(shared, views, {}, number)]
    assert {spec.folder.hash for spec in specs if not spec.bundled} == {chosen}


@pytest.mark.parametrize("compression", Compression)
def test_the_key_of_a_bundle_names_period_range_and_number(compression: Compression) -> None:
    plan, views = plan_of(6)
    plan = msgspec.structs.replace(bundling(plan, 10**6), target=10**6, ranges=2, compression=compression)
    keys = {spec.key for spec in objects(plan, views, {}, 1)}
    assert f"_bundles/date=1970-01-01/hour=00/0000-001-000{compression.ending}" in keys
    assert all(key.rpartition("/")[2].split("-", 1)[1] == f"001-000{compression.ending}" for key in keys)

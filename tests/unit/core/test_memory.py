"""The memory of a process, and the limit that "auto" sets by it."""

from __future__ import annotations

import pytest

from vortex.core.memory import (
    LEAST_AUTO,
    MIB,
    SUPERVISOR_BYTES,
    AutoLimit,
    limit_within,
    part_of,
    process_bytes,
    room_bytes,
    shard_bytes,
)

GIB = 1024 * MIB


@pytest.mark.parametrize(("limit", "room"), [(1, 96), (256, 96), (1024, 256), (1728, 432), (4096, 432)])
def test_room_follows_the_memory_limit_within_its_bounds(limit: int, room: int) -> None:
    assert room_bytes(limit * MIB) == room * MIB


def test_memory_of_a_process_grows_with_what_it_holds() -> None:
    """Its limit also bounds what publishing takes, between 96 and 432 MiB."""
    assert process_bytes(64 * MIB, 64 * MIB, 1) == (150 + 64 + 96 + 80 + 64 + 4) * MIB
    assert process_bytes(1024 * MIB, 512 * MIB, 25) == (150 + 1024 + 256 + 80 + 512 + 100) * MIB
    assert process_bytes(4096 * MIB, 0, 0) == (150 + 4096 + 432 + 80) * MIB


@pytest.mark.parametrize("keys", [0, 512 * MIB])
@pytest.mark.parametrize("shards", [0, 1, 50])
@pytest.mark.parametrize("limit", [1, MIB, 384 * MIB, 384 * MIB + 5, GIB + 3, 1728 * MIB, 1728 * MIB + 1, 9 * GIB])
def test_limit_within_is_the_largest_that_fits(limit: int, shards: int, keys: int) -> None:
    """So a pod with the memory of the formula has the limit from which that was computed."""
    usable = process_bytes(limit, keys, shards)
    assert limit_within(usable, keys, shards) == limit
    assert limit_within(usable - 1, keys, shards) == limit - 1


@pytest.mark.parametrize(
    ("commit_ms", "most", "gathered"),
    [(60_000, 64 * MIB, 64 * MIB), (30_000, 64 * MIB, 34_500_000), (4_000, 64 * MIB, 4_600_000), (60_000, 1000, 1000)],
)
def test_a_shard_gathers_its_full_rate_for_a_commit_interval_or_commit_max_bytes(
    commit_ms: int, most: int, gathered: int
) -> None:
    assert shard_bytes(commit_ms, most) == gathered


@pytest.mark.parametrize(
    ("usable", "shards", "limit"),
    [
        (16 * GIB, 0, 256 * MIB),
        (16 * GIB, 4, 256 * MIB),
        (16 * GIB, 5, 320 * MIB),
        (16 * GIB, 50, 3200 * MIB),
        (16 * GIB, 1000, (16384 - 150 - 80 - 512 - 4000 - 432) * MIB),
        (6 * GIB, 50, 3200 * MIB),
        (4 * GIB, 50, (4096 - 150 - 80 - 512 - 200 - 432) * MIB),
        (2 * GIB, 50, (2048 - 150 - 80 - 512 - 200) * 4 // 5 * MIB + 838_861),
        (GIB, 50, 256 * MIB),
        (0, 50, 256 * MIB),
        (0, 0, 256 * MIB),
    ],
)
def test_auto_follows_the_shards_as_far_as_the_memory_goes_and_never_below_256_mib(
    usable: int, shards: int, limit: int
) -> None:
    auto = AutoLimit(shard=64 * MIB, keys=512 * MIB, usable=usable)
    assert auto(shards, shards) == limit
    if limit > LEAST_AUTO:
        assert process_bytes(limit, 512 * MIB, shards) <= usable


@pytest.mark.parametrize(
    ("usable", "at_tip", "held"), [(4, 50, 200), (6, 60, 300), (8, 80, 400), (3, 30, 100), (3, 0, 100)]
)
def test_auto_leaves_memory_for_the_filters_of_shards_that_are_behind(usable: int, at_tip: int, held: int) -> None:
    limit = AutoLimit(shard=64 * MIB, keys=512 * MIB, usable=usable * GIB)(at_tip, held)
    assert process_bytes(limit, 512 * MIB, held) <= usable * GIB


def test_several_processes_share_the_memory_beside_their_supervisor() -> None:
    assert part_of(8 * GIB, 1) == part_of(8 * GIB, 0) == 8 * GIB
    assert part_of(8 * GIB, 3) == (8 * GIB - SUPERVISOR_BYTES) // 3
    assert part_of(MIB, 3) == 0

"""The id file of a group of shards."""

from __future__ import annotations

import tracemalloc
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.dedup import groups
from vortex.core.dedup.groups import (
    ROW,
    encode_group,
    groups_of,
    has_groups,
    merged,
    read_group,
    shards_of,
)
from vortex.core.dedup.rows import RUN, PlanRuns, Rows, rows_of
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import empty_footer
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.model import Position, Start
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.plan import Plan, PlanShard

_FOOTER = empty_footer("s", 0, owner="", created=0, position=Position(Start.LATEST), watermark=0, closed_before=0)
Blocks = dict[tuple[str, int], bytes]


def plan_of(shards: int, parts: int) -> Plan:
    """A plan of three segments of each shard."""
    entries = {f"shard-{at}": PlanShard(first=2, to=4, digest=f"digest {at}") for at in range(shards)}
    return Plan(k=3, after=0, upto=10, target=1, shards=entries, parts=parts)


def traffic_of(rng: Random, plan: Plan, most: int) -> tuple[PlanRuns, Blocks]:
    """The runs of two periods in each segment, and ids, of which some repeat."""
    pool = [rng.randbytes(KEY_BYTES) for _ in range(200)]
    found, blocks, shards = [], Blocks(), sorted(plan.shards)
    for at, shard in enumerate(shards):
        for n in range(2, 5):
            counts = [rng.randrange(most) for _ in range(2)]
            blocks[shard, n] = b"".join(rng.choice(pool) for _ in range(3 + sum(counts)))
            head = SegmentHeader(shard, n, "", _FOOTER)
            found += [((p, at, n), (at, n, p, n, n + at, counts[p], 0), head, 3 + p * counts[0]) for p in range(2)]
    found.sort(key=lambda one: one[0])
    table = np.array([one[1] for one in found], dtype=RUN)
    return PlanRuns(shards, table, [one[2] for one in found], [one[3] for one in found]), blocks


def of_group(plan: Plan, group: int, runs: PlanRuns) -> PlanRuns:
    """The runs of a group's shards."""
    mine = [at for at, head in enumerate(runs.headers) if head.shard in shards_of(plan, group)]
    return PlanRuns(runs.shards, runs.table[mine], [runs.headers[at] for at in mine], [runs.first[at] for at in mine])


def columns(rows: Rows) -> list[list[int]]:
    """The rows as lists."""
    return [rows.high.tolist(), rows.low.tolist(), rows.run.tolist(), rows.row.tolist()]


@pytest.mark.parametrize(("shards", "parts"), [(5, 2), (3, 4), (9, 8), (2, 2)])
def test_groups_together_give_each_part_the_rows_that_the_segments_give(shards: int, parts: int) -> None:
    """In the same order, with the same runs; some groups have no shard."""
    plan = plan_of(shards, parts)
    runs, blocks = traffic_of(Random(shards), plan, 60)
    bodies = [encode_group(plan, group, of_group(plan, group, runs), blocks) for group in range(parts)]
    files = [read_group(body, plan, group, "x") for group, body in enumerate(bodies)]
    for part in range(parts):
        places = [file.range_of(part) for file in files]
        its = [body[begin : begin + length] for body, (begin, length) in zip(bodies, places, strict=True)]
        for file, block in zip(files, its, strict=True):
            file.check(block, part)
        found, rows = merged(plan, files, its, part)
        assert columns(rows) == columns(rows_of(runs, blocks, part, parts))
        assert found.table.tobytes() == runs.table.tobytes()
        assert found.shards == runs.shards


def test_every_shard_is_in_one_group() -> None:
    """However many there are."""
    plan = plan_of(7, 4)
    assert sorted(shard for group in range(4) for shard in shards_of(plan, group)) == sorted(plan.shards)
    assert groups_of(msgspec.structs.replace(plan, resolvers=("a", "b", "a", "b"))).takers == ("a", "b", "a", "b")


def cut_plan(parts: int) -> Plan:
    """A plan of seven shards whose large folders are shared by three ranges; one begins within shard 4."""
    cuts = (("shard-2", 2), ("shard-4", 3))
    plan = msgspec.structs.replace(plan_of(7, parts), ranges=3, cuts=cuts, takers=("a", "b", "c"))
    return msgspec.structs.replace(plan, resolvers=("a", "b") * (parts // 2))


def test_groups_follow_the_ranges_that_share_large_folders() -> None:
    """So a worker reads the footers of its range for both; a shard of two ranges is in the group of the first one."""
    by_range = [["shard-0", "shard-1"], ["shard-2", "shard-3", "shard-4"], ["shard-5", "shard-6"]]
    assert groups_of(cut_plan(2)) == (by_range, ("a", "b", "c"))
    assert [shards_of(cut_plan(2), group) for group in range(3)] == by_range


def test_groups_follow_the_parts_when_ranges_are_uneven() -> None:
    """Large folders may be a small part of the traffic. A worker reads no more ids than its memory is meant for."""
    plan = msgspec.structs.replace(cut_plan(2), cuts=(("shard-0", 2), ("shard-6", 2)))
    assert groups_of(plan) == ([[f"shard-{at}" for at in some] for some in ((0, 2, 4, 6), (1, 3, 5))], ("a", "b"))
    assert len(groups_of(cut_plan(4)).shards) == 4, "three of seven shards are more than a part of four should have"


def test_groups_by_ranges_give_each_part_the_rows_that_the_segments_give() -> None:
    """With more groups than parts."""
    plan, parts = cut_plan(2), 2
    runs, blocks = traffic_of(Random(1), plan, 60)
    bodies = [encode_group(plan, group, of_group(plan, group, runs), blocks) for group in range(3)]
    files = [read_group(body, plan, group, "x") for group, body in enumerate(bodies)]
    for part in range(parts):
        its = [
            body[file.range_of(part)[0] :][: file.range_of(part)[1]] for body, file in zip(bodies, files, strict=True)
        ]
        found, rows = merged(plan, files, its, part)
        assert columns(rows) == columns(rows_of(runs, blocks, part, parts))
        assert found.table.tobytes() == runs.table.tobytes()


@pytest.mark.parametrize(
    ("parts", "resolvers", "expected"),
    [(1, (), False), (2, (), False), (2, ("a", "a"), False), (2, ("a", "b"), True), (4, ("a", "b", "a", "b"), True)],
)
def test_ids_are_exchanged_when_several_workers_decide(parts: int, resolvers: tuple[str, ...], expected: bool) -> None:
    """One that decides alone reads the segments."""
    assert has_groups(msgspec.structs.replace(plan_of(2, parts), resolvers=resolvers)) is expected


@given(st.data())
def test_an_id_file_is_refused_when_any_byte_is_changed(data: st.DataObject) -> None:
    """By the digest of its trailer, or of the rows of a part."""
    plan = plan_of(2, 2)
    runs, blocks = traffic_of(Random(1), plan, 9)
    body = bytearray(encode_group(plan, 0, of_group(plan, 0, runs), blocks))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CorruptSegment, OtherVersion)):
        file = read_group(bytes(body), plan, 0, "x")
        for part in range(2):
            begin, length = file.range_of(part)
            file.check(bytes(body[begin : begin + length]), part)


def test_an_id_file_is_refused_when_it_was_made_of_other_segments() -> None:
    """Of another plan, group or number of parts, of other periods, or of a log that was restored."""
    plan = plan_of(2, 2)
    runs, blocks = traffic_of(Random(1), plan, 9)
    body = encode_group(plan, 0, of_group(plan, 0, runs), blocks)
    restored = {**plan.shards, "shard-0": PlanShard(first=2, to=4, digest="another")}
    for change in ({"k": 4}, {"parts": 4}, {"upto": 11}, {"shards": restored}):
        with pytest.raises(CorruptSegment, match="x: was made of other segments"):
            read_group(body, msgspec.structs.replace(plan, **change), 0, "x")
    with pytest.raises(CorruptSegment, match="x: was made of other segments"):
        read_group(body, plan, 1, "x")


def test_grouping_takes_at_most_so_many_bytes_a_row() -> None:
    """Beside the ids as read: the rows and the file, twenty bytes each; then as much, and the rows as columns."""
    plan, each = plan_of(5, 2), 20_000
    headers = [SegmentHeader(shard, n, "", _FOOTER) for shard in sorted(plan.shards) for n in range(2, 5)]
    table = np.zeros(len(headers), dtype=RUN)
    table["shard"], table["n"], table["rows"] = np.arange(15) // 3, np.arange(15) % 3 + 2, each
    blocks = {(head.shard, head.n): Random(at).randbytes(KEY_BYTES * each) for at, head in enumerate(headers)}
    runs = PlanRuns(sorted(plan.shards), table, headers, [0] * len(headers))
    tracemalloc.start()
    try:
        bodies = [encode_group(plan, group, of_group(plan, group, runs), blocks) for group in range(2)]
        encoding = tracemalloc.get_traced_memory()[1] / (len(bodies[0]) + len(bodies[1])) * ROW.itemsize
        files = [read_group(body, plan, group, "x") for group, body in enumerate(bodies)]
        begins = [file.range_of(1)[0] for file in files]
        its = [body[begin:][: file.range_of(1)[1]] for body, begin, file in zip(bodies, begins, files, strict=True)]
        rows = sum(map(len, its)) // ROW.itemsize
        del bodies
        tracemalloc.reset_peak()
        merged(plan, files, its, 1)
        merging = tracemalloc.get_traced_memory()[1] / rows
    finally:
        tracemalloc.stop()
    assert encoding < 45 and merging < 56, "the other file is there, too"
    assert groups.ROW.itemsize == 20

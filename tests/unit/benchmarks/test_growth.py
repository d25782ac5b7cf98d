"""Requests, bytes and steps grow with the work alone: the counts behind `python -m benchmarks.growth`."""

from __future__ import annotations

import re
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks.growth.__main__ import main
from benchmarks.growth.checking import verified
from benchmarks.growth.ground import PERIOD_MS, T0, Traffic, exponent
from benchmarks.growth.hours import closed
from benchmarks.growth.price import MONTH_S, PUT, WRITE, bill, default_limit, false_matches
from benchmarks.growth.publishing import (
    FULL_RATE,
    Sizes,
    decided_in_parts,
    held_indexes,
    listed,
    one_folder,
    planned,
    published,
)
from benchmarks.growth.reading import behind, resumed
from benchmarks.growth.resharding import resharded
from benchmarks.growth.resolving import resolved
from benchmarks.growth.storing import stored
from benchmarks.growth.upkeep import cleaned
from vortex.commands.sizing import SEGMENTS
from vortex.core.dedup.index import Fingerprints
from vortex.core.publish import members


@pytest.mark.parametrize("segments", [10, 20, 40])
def test_members_are_listed_with_one_look_at_each_segment(segments: int) -> None:
    """However many chunks of members there are."""
    looked = []

    def look(*args: object) -> object:
        looked.append(args)
        return really(*args)  # type: ignore[arg-type]

    really = members._listed
    with patch.object(members, "_listed", look), patch.object(members, "CHUNK_MEMBERS", 100):
        _, pieces = listed(segments, members=200)
    assert (len(looked), pieces) == (segments, 200 * segments)


def test_exponent_is_that_of_a_power() -> None:
    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([10, 20, 40], [5, 20, 80]) == pytest.approx(2)


@pytest.mark.parametrize("sizes", [["4"], ["4", "4"], ["0", "4"], ["-2", "4"]])
def test_growth_refuses_sizes_that_make_no_curve(sizes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured."""
    with pytest.raises(SystemExit) as ended:
        main(["--what", "gets", "--sizes", *sizes])
    assert ended.value.code == 2
    assert "--sizes: a curve needs two or more different sizes, each of at least 1" in capsys.readouterr().err


def test_growth_takes_one_size_where_the_figure_is_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The bill of a fleet: too long a run for several."""
    assert main(["--what", "price-of-a-fleet", "--sizes", "4"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("       4 full shards, 50 on a worker")
    dollars = {name: float(text) for name, text in re.findall(r"\$ (.*?) ([\d.]+)(?:,|$)", line)}
    assert dollars.pop("in all") == pytest.approx(sum(dollars.values()), abs=0.01)
    assert dollars["segments in storage"] == pytest.approx(4 * 0.1987, abs=0.001)


def test_growth_prints_a_line_for_each_size_and_the_exponent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--what", "gone", "--sizes", "2", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0].strip() for line in lines] == [
        "2 splits and merges",
        "4 splits and merges",
        "bytes of plan.json",
    ]
    assert lines[-1].startswith("bytes of plan.json: exponent ")


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_a_plan_takes_at_most_four_gets_a_segment(shards: int) -> None:
    """Footers, ids and data, at any number of shards, though its objects need twenty batches."""
    traffic = Traffic(commits=10, partitions=50, size=60_000)
    store, segments = published(shards, traffic)
    assert store.requests["put object"] >= traffic.partitions
    assert store.gets() <= 4 * segments


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_a_plan_takes_at_most_four_gets_a_segment_however_many_workers_there_are(workers: int) -> None:
    """Its segments are too small to be read by several workers."""
    store, segments = published(8, FULL_RATE, workers=workers)
    assert store.gets() <= 4 * segments


@pytest.mark.parametrize(("workers", "parts"), [(4, 2), (8, 4)])
def test_a_plan_that_is_decided_in_parts_takes_at_most_four_gets_a_segment(workers: int, parts: int) -> None:
    """Helpers read footers and ids together. Earlier keys, files of ids and looks grow with the parts alone."""
    found = decided_in_parts(8, workers)
    assert found.parts == parts
    assert found.segment_gets <= 4 * 80
    assert found.other_gets <= 4 * parts**2 + 40 * parts


def test_a_plan_without_scratch_is_published_in_passes() -> None:
    """A larger part of memory means fewer requests."""
    gets = []
    for copy_bytes in (1_000_000, 250_000, 125_000):
        store, segments = published(4, FULL_RATE, Sizes(scratch=0, copy_bytes=copy_bytes))
        gets.append(store.gets())
    assert sorted(gets) == gets
    assert gets[0] <= 6 * segments


def test_one_process_publishes_one_large_folder_at_250_mb_a_second() -> None:
    """Over connections of 90 MB a second, though an object is put only once it is complete."""
    assert one_folder(1280, 0.025, 90) >= 250


def test_two_workers_publish_one_large_folder_nearly_twice_as_fast() -> None:
    """1.84 times in `benchmarks.growth --what hot-by-workers`; in this thousandth the plan itself weighs more."""
    one, two = (one_folder(20_000, 0.025, 90, workers, scale=1000) for workers in (1, 2))
    assert two >= 1.7 * one


@pytest.mark.parametrize("shards", [20, 60])
def test_shards_that_are_behind_fill_the_limit_and_stay_within_it(shards: int) -> None:
    """Whatever their number: room is reserved before the call, and lines that would exceed it are committed first."""
    peak, page = behind(shards, records=20, pages=3)
    assert peak.limit - page < peak.used <= peak.limit


@pytest.mark.parametrize("shards", [20, 40])
def test_clean_up_takes_a_list_and_a_delete_a_shard_and_no_time_of_the_step(shards: int) -> None:
    """Two listings must agree before anything is deleted."""
    found = cleaned(shards)
    assert (found.lists, found.deletes) == (3 * shards, shards)
    assert found.step_s < 1


@pytest.mark.parametrize("plans", [24, 48])
def test_verify_reads_each_document_and_object_once(plans: int) -> None:
    """Besides a few looks for the last plan."""
    found = verified(plans, objects=4)
    documents = 2 * plans + 4 * plans + plans // 12 * 5
    assert documents < found.gets <= documents + 40


@pytest.mark.parametrize("shards", [4, 8])
def test_a_planner_holds_indexes_up_to_its_limit(shards: int) -> None:
    """Those of other segments are read once more when they are published."""
    held, whole, gets = held_indexes(shards)
    assert held <= 20_000 < whole / 5
    assert gets <= 4.3 * 10 * shards


@pytest.mark.parametrize("shards", [10, 20])
def test_a_planners_step_takes_a_fixed_time_a_shard(shards: int) -> None:
    """So 10,000 shards with a commit every 30 seconds take less than the five minutes of a period."""
    seconds, gets = planned(shards)
    assert seconds <= 1 + 0.027 * shards
    assert gets <= 38 * shards


def test_bill_grows_with_the_shards_alone() -> None:
    """Each part but the looks, which each worker makes."""
    small, large = bill(4, 1, minutes=5), bill(8, 2, minutes=5)
    assert large.kinesis == 2 * small.kinesis
    for name in ("PUT segments", "heartbeats", "segments in storage"):
        assert 1.8 <= large.parts[name] / small.parts[name] <= 2.2, name


def test_bill_counts_a_commit_of_each_shard_in_a_minute_and_a_heartbeat_of_each_worker_in_three_seconds() -> None:
    """As full shards commit at default settings; a tenth more commit early, as periods make all commit at a time."""
    found = bill(8, 1, minutes=10)
    assert 1 <= found.parts["PUT segments"] / (8 * MONTH_S / 60 * PUT) <= 1.15
    assert found.parts["heartbeats"] == pytest.approx(MONTH_S * 0.3 * WRITE, rel=0.05)


def test_false_matches_are_those_of_fingerprints() -> None:
    """In parts of the keys as in one."""
    random = np.random.default_rng(1)
    for count, expected in ((130_000, 19), (70_000, 10)):
        keys, probes = (np.sort(random.integers(0, 2**63, size, np.uint64)) for size in (count, 10_000_000))
        assert false_matches(2 * count, 20_000_000) / 2 == pytest.approx(expected, abs=1)
        found = np.count_nonzero(Fingerprints(keys, 0, 2).may_have(probes))
        assert abs(found - expected) <= 3 * expected**0.5


def test_default_limit_holds_a_minute_of_fifty_full_shards_on_a_machine_of_8_gib() -> None:
    """docs/performance.md."""
    assert [default_limit(shards) // 2**20 for shards in (0, 4, 50)] == [256, 256, 3200]


def test_bill_counts_the_early_commits_of_a_worker_with_little_memory() -> None:
    """It holds four seconds of their lines, of which half may be gathered."""
    found = bill(4, 1, minutes=5, limit=16 << 20)
    assert found.parts["PUT segments"] == pytest.approx(4 * MONTH_S / 5 * PUT, rel=0.3)


def test_a_shard_that_resumes_holds_no_index_of_its_segments() -> None:
    """Only the newest footer decides where it continues."""
    held, whole = resumed(20)
    assert held == 0 < whole


def test_a_segment_takes_about_a_fifth_of_its_lines() -> None:
    """With ids, as `vortex plan` and the bill count it."""
    an_event, share, partitions = stored(1, number=6_000)
    assert partitions == 8
    assert share == pytest.approx(SEGMENTS, rel=0.15)
    assert 165 <= an_event <= 200


def test_plans_and_lease_rows_depend_on_live_shards_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Not on how often the stream was resharded; numbers get more digits. Shards that go are no news."""
    few, many = resharded(4), resharded(8)
    assert not [record for record in caplog.records if "listed before" in record.getMessage()]
    assert many.shards == 2 * few.shards - 1 == 13
    assert (few.rows, many.rows) == (3, 3)
    assert abs(many.plan_bytes - few.plan_bytes) <= 40


@pytest.mark.parametrize(("shards", "workers"), [(8, 1), (16, 2), (32, 4)])
def test_deciding_on_a_period_reads_the_ids_of_each_segment_once(shards: int, workers: int) -> None:
    """While the keys fit into the memory of a worker."""
    found = resolved(shards, workers)
    assert (found.ids, found.parts) == (found.segments, 1)
    assert found.decisions <= 10 + 2 * workers
    assert found.exchanged == found.footers == 0


@pytest.mark.parametrize(("shards", "workers", "keys_bytes", "parts"), [(16, 4, 16_000, 2), (32, 8, 16_000, 4)])
def test_deciding_in_parts_reads_the_ids_of_each_segment_once(
    shards: int, workers: int, keys_bytes: int, parts: int
) -> None:
    """Where the keys do not fit into one worker: the others' ids come in a file of each group."""
    found = resolved(shards, workers, keys_bytes)
    assert (found.ids, found.parts) == (found.segments // parts, parts), "those of the planner, who knows the footers"
    assert found.id_bytes == 16 * 30 * found.segments
    assert found.exchanged_bytes <= 1.25 * found.id_bytes + 100 * found.segments
    assert found.exchanged <= 2 * parts**2 + 8 * parts, "two reads of each by each part, a put, and looks"
    assert found.footers == 11 * shards * (parts - 1) // parts, (
        "with their ids; a segment without lines ends the period"
    )


def test_verify_since_reads_the_plans_in_question_whatever_their_number_before() -> None:
    """It finds them by bisecting, so twice as many plans cost one or two more looks."""
    gets = []
    for plans in (48, 96, 192):
        since = T0 + (plans - 12) * PERIOD_MS
        gets.append(verified(plans, objects=4, span=(since, None)).gets)
    assert gets[1] - gets[0] <= 4 and gets[2] - gets[1] <= 4


@pytest.mark.parametrize("partitions", [480, 960])
def test_an_hour_takes_one_manifest_a_partition_many_at_a_time(partitions: int) -> None:
    """And one of its own. Only those that are being put are in memory."""
    found = closed(partitions)
    assert (found.manifests, found.objects) == (partitions + 1, partitions)
    assert found.virtual_s <= 0.6 + 2 * 0.025 * partitions / 48
    assert found.held <= 48 * 250


@pytest.mark.parametrize("partitions", [60, 240, 960])
def test_requests_of_small_partitions_do_not_grow_with_their_number_where_they_are_bundled(partitions: int) -> None:
    """An object, and the hour's manifest."""
    found = closed(partitions, 60_000, bundle=64 * 1024)
    assert (found.objects, found.manifests) == (1, 1)


def test_requests_of_small_partitions_grow_with_their_bytes_where_they_are_bundled() -> None:
    """An object for each so many compressed bytes."""
    puts = [closed(240, size, bundle=64 * 1024, target=16 * 1024).objects for size in (240_000, 480_000, 960_000)]
    assert puts == [2, 4, 8]
    assert closed(240, 120_000, bundle=1, target=16 * 1024).objects == 240

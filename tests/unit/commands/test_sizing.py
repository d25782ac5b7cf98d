"""What `vortex plan` computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vortex.adapters.dynamodb.lease_row import write_row
from vortex.commands.sizing import LEASE_BYTES, Load, impossible, pod_memory, size
from vortex.config.input import Source
from vortex.config.output import Commit, Publish
from vortex.config.settings import Coordination, Dedup, Memory, Settings
from vortex.core import memory
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.memory import LEAST_AUTO, MIB, part_of, process_bytes, shard_bytes
from vortex.runtime.environment import memory_limit

SMALL = Load(events=100, event_bytes=1000, shards=1, customers=10, types=10)
HUGE = Load(events=500_000, event_bytes=1000, shards=1000, customers=1000, types=20)


def dollars(load: Load, name: str) -> float:
    return next(cost.dollars for cost in size(load).costs if cost.name == name)


def count(load: Load, name: str) -> float:
    return next(cost.count for cost in size(load).costs if cost.name == name)


def test_sizing_gives_one_process_and_no_lease_table_when_the_stream_is_small() -> None:
    small = size(SMALL)
    assert small.processes == 1
    assert not [cost for cost in small.costs if "lease" in cost.name]


def test_sizing_matches_the_published_price_of_a_thousand_shards() -> None:
    """docs/how-to/size.md: heartbeats of 1,000 shards cost about $20 a month, looks $32, segments every 60 s $219."""
    on_twenty = dataclasses.replace(HUGE, events=560_000)
    assert size(on_twenty).processes == 20
    assert dollars(on_twenty, "lease heartbeats") == pytest.approx(20, rel=0.05)
    assert dollars(on_twenty, "lease table reads") == pytest.approx(32, rel=0.01)
    assert dollars(dataclasses.replace(HUGE, events=4_000), "PUT segments") == pytest.approx(219, rel=0.01)


def test_sizing_gives_a_process_memory_for_the_lines_between_two_commits() -> None:
    """With half as much again for peaks; never less than "auto" sets, nor more than full shards bring."""
    each = HUGE.events * HUGE.event_bytes * 60 / size(HUGE).processes
    assert 1.5 * each <= size(HUGE).limit <= 1.5 * each + MIB
    assert size(dataclasses.replace(HUGE, events=2_000)).limit == LEAST_AUTO
    full = size(dataclasses.replace(HUGE, events=1_000_000))
    assert full.limit == full.shards_each * 64 * MIB
    assert dollars(HUGE, "PUT segments") == pytest.approx(219, rel=0.01)


def test_sizing_matches_the_published_price_of_keeping_half_a_day() -> None:
    """docs/performance.md: of 1,000 full shards $199 for segments in storage, $20 for decisions; $7 to list segments
    for clean-up.
    """
    full = dataclasses.replace(HUGE, events=1_000_000)
    assert dollars(full, "GB of segments, kept") == pytest.approx(199, rel=0.01)
    assert dollars(full, "GB of decisions, kept") == pytest.approx(20, rel=0.01)
    assert dollars(dataclasses.replace(HUGE, events=4_000), "LIST to clean up") == pytest.approx(7.3, rel=0.01)


def test_sizing_plans_half_of_what_a_process_can_read() -> None:
    """docs/how-to/size.md: 57 MB a second, about fifty full shards; half of that, so that it catches up."""
    full = Load(events=50_000, event_bytes=1000, shards=50, customers=100, types=10)
    assert size(full).processes == 2
    assert size(dataclasses.replace(full, events=28_000)).processes == 1
    small = dataclasses.replace(full, events=40_000, event_bytes=200)
    assert size(small).processes == 1, "by CPU"


def test_load_has_the_defaults_of_the_settings() -> None:
    """What a plan does not ask for is as in a settings file without it."""
    load = SMALL
    assert load.window * 1000 == Dedup().window
    assert load.period * 1000 == Publish().period
    assert (load.commit_every * 1000, load.keep * 1000) == (Commit().every, Commit().keep)
    assert load.poll * 1000 == Source.model_fields["poll"].default
    assert load.failover * 1000 == Coordination().failover


def test_sizing_grows_in_a_straight_line_with_the_load() -> None:
    """Twice the events, shards and customers: twice the cores and the requests of each kind."""
    twice = dataclasses.replace(HUGE, events=2 * HUGE.events, shards=2 * HUGE.shards, customers=2 * HUGE.customers)
    assert size(twice).cores == pytest.approx(2 * size(HUGE).cores)
    for one, two in zip(size(HUGE).costs, size(twice).costs, strict=True):
        bound = 4.1 if one.name == "lease table reads" else 2.2  # processes times rows; whole processes
        assert two.count <= bound * one.count, one.name


def test_sizing_holds_the_window_in_memory() -> None:
    """20 bytes an id."""
    found = size(dataclasses.replace(SMALL, events=10_000, window=3600))
    assert found.keys >= 10_000 * 3600 * 20
    assert found.memory == process_bytes(found.limit, found.keys, 1)


def test_sizing_shares_fingerprints_of_the_window_among_workers_when_whole_keys_are_too_many() -> None:
    """For a day of them; more plans to look them up in take more CPU."""
    hour = dataclasses.replace(HUGE, window=3600)
    day = dataclasses.replace(HUGE, window=86_400)
    assert size(day).cores > size(hour).cores + 500_000 * 4e-6
    assert size(day).keys * size(day).processes >= 500_000 * 86_400 * 3.3
    assert size(day).keys < 500_000 * 86_400 * 20 / 10


@pytest.mark.parametrize(
    ("events", "shards", "window", "warned"),
    [
        (5_000, 16, 3600, None),
        (20_000, 20, 3600, "to deduplicate 6.0 million events of a plan takes up to 306 MiB beside"),
        (20_000, 20, 0, None),
        (500_000, 600, 3600, "to deduplicate 8.3 million events of a plan takes up to 1,501 MiB beside"),
    ],
)
def test_plan_says_what_deduplication_takes_beside_the_memory_where_a_period_has_many_events(
    events: float, shards: int, window: float, warned: str | None
) -> None:
    warnings = size(dataclasses.replace(HUGE, events=events, shards=shards, window=window)).warnings
    assert [text.partition(" the memory")[0] for text in warnings if "deduplicate" in text] == (
        [warned] if warned else []
    )


def test_memory_of_a_pod_is_that_of_its_processes_and_of_their_supervisor() -> None:
    """They share a memory.limit in bytes."""
    assert pod_memory(1, 64 * MIB, MIB, 10) == process_bytes(64 * MIB, MIB, 10)
    assert pod_memory(4, 64 * MIB, MIB, 10) == 4 * process_bytes(16 * MIB, MIB, 10) + 96 * MIB


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("shards", [0, 3, 25, 100])
def test_worker_with_auto_sets_the_limit_by_which_its_pod_got_memory(shards: int, processes: int) -> None:
    """The whole limit, not less because the rest of the pod's memory has other uses."""
    settings, pod = settings_with("auto"), pod_memory(processes, "auto", Memory().keys, shards)
    expected = max(LEAST_AUTO, shards * 64 * MIB)
    assert memory_limit(settings, part_of(pod, processes))(shards, shards) == expected


def settings_with(limit: str) -> Settings:
    needed = {"source": {"stream": "s"}, "event": dict.fromkeys(("customer", "type", "id", "time"), "x")}
    return Settings.model_validate({**needed, "store": {"url": "file:///x"}, "memory": {"limit": limit}})


def test_documentation_has_the_figures_of_memory() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/size.md").read_text("utf-8")
    a_shard, least, room = shard_bytes(Commit().every, Commit().max_bytes), memory.ROOM_LEAST, memory.ROOM_MOST
    for row in (
        f"| the process | {memory.PROCESS_BYTES // MIB} MiB |",
        f"`memory.limit`: by default {a_shard // MIB} MiB a shard at its tip, at least {LEAST_AUTO // MIB} MiB (",
        f"a quarter of `memory.limit`, but at least {least // MIB} MiB and at most {room // MIB} MiB. "
        'With "auto" they get half of that share, and the sum counts the whole |',
        f"| pages on their way, and copies | {memory.PAGES_BYTES // MIB} MiB |",
        f"up to `memory.keys` ({Memory().keys // MIB} MiB) |",
        f"| the filter | {memory.FILTER_BYTES // MIB} MiB a shard |",
        f"| the supervisor of `--processes` | {memory.SUPERVISOR_BYTES // MIB} MiB |",
    ):
        assert row in page


def test_sizing_counts_no_more_objects_than_events() -> None:
    """A thousand customers that send ten events a period make ten objects."""
    found = size(Load(events=10 / 300, event_bytes=500, shards=1, customers=1000, types=10))
    assert found.objects_hour == pytest.approx(120, rel=0.001)


def test_sizing_counts_the_partitions_that_have_an_event_by_chance() -> None:
    """docs/how-to/files-within-seconds.md: 400 events reach 172 of 200 partitions, $566 a month with four seconds."""
    fast = Load(events=100, event_bytes=1000, shards=16, customers=10, types=20, period=4)
    assert dollars(fast, "PUT objects") == pytest.approx(566, rel=0.01)


def test_sizing_counts_several_objects_for_a_partition_with_more_than_one_takes() -> None:
    """Ten partitions with 4.5 GB of objects each in a period: 67 of 64 MiB. They take CPU, too."""
    large = dataclasses.replace(HUGE, events=1_000_000, customers=1, types=10, window=0)
    assert size(large).objects_hour == pytest.approx(1e9 * 0.15 * 3600 / (64 * MIB))
    assert dollars(large, "PUT objects") == pytest.approx(29.4, rel=0.01)
    assert dollars(large, "PUT manifests") == pytest.approx(10 * 730 * 5e-6)
    assert size(large).cores == pytest.approx(1e6 * 9.3e-6 + 2.235 * 0.6e-3 + 1000 / 2 * 0.63e-3, rel=0.0001)
    small = dataclasses.replace(large, events=4_000)
    assert size(small).objects_hour == pytest.approx(120)


def test_sizing_counts_a_segment_a_period_for_a_shard_without_events() -> None:
    """As the counts of eight idle shards for an hour: 8,760 PUTs a month for each, and 26,280 GETs."""
    idle = dataclasses.replace(SMALL, events=0, shards=8)
    assert count(idle, "PUT segments") == pytest.approx(8 * 8_760)
    assert 8 * 26_280 <= count(idle, "GET segments to publish (at most)") <= 8 * 4 * 8_760
    assert count(dataclasses.replace(idle, events=1_000), "PUT segments") == pytest.approx(8 * 43_800)
    one_an_hour = dataclasses.replace(idle, events=8 / 3600)
    assert 1 < count(one_an_hour, "PUT segments") / (8 * 8_760) < 1.1
    fast = dataclasses.replace(idle, events=1_000, period=4)
    assert count(fast, "PUT segments") == pytest.approx(8 * 43_800 * 15), "no more often than a period ends"


def test_sizing_keeps_no_ids_without_a_window() -> None:
    """Neither in memory, for which memory.keys has its least, nor in files of decisions."""
    off = dataclasses.replace(SMALL, window=0)
    assert size(off).settings["memory"]["keys"] == "1MiB"
    assert size(off).memory == process_bytes(LEAST_AUTO, MIB, 1)
    assert dollars(off, "GB of decisions, kept") == 0
    assert count(off, "PUT plans and decisions") == 2 * 8_760


@pytest.mark.parametrize(
    ("events", "event_bytes", "shards", "disk"),
    [
        (50_000, 1000, 50, 3.0e9),
        (1_000_000, 1000, 1000, 4096 * MIB),
        (2_000, 1000, 4, 0.3e9),
        (2, 1000, 1, 2 * 86_400 * 200),
        (1, 1000, 1, 0),
        (5_000, 20, 8, 0),
        (0, 1000, 1, 0),
    ],
    ids=["decision 19", "publish.scratch", "a backlog of 1.5 million events", "a day", "a day of few", "tiny", "none"],
)
def test_sizing_says_what_copies_of_a_plan_take_on_disk(
    events: float, event_bytes: int, shards: int, disk: float
) -> None:
    load = dataclasses.replace(HUGE, events=events, event_bytes=event_bytes, shards=shards)
    assert size(load).disk == pytest.approx(disk)


def test_sizing_counts_the_bytes_of_a_row_of_the_lease_table() -> None:
    """As DynamoDB counts them: names and values, numbers at two digits a byte."""
    lease = Lease(
        key="shardId-000000000123",
        owner="vortex-7d9f8b6c5d-x2x7k:1:0123456789abcdef",
        counter=123_456,
        checkpoint=Checkpoint("49590338271490256608559692538361571095921575989136588898"),
        start_hash=1 << 127,
        end_hash=(1 << 128) - 1,
        token="0123456789abcdef",
        stream=1_545_116_700_000,
        store="0123456789abcdef",
    )
    values = ((name, *value.items()) for name, value in write_row(lease).items())
    found = sum(len(name) + (len(text) // 2 + 1 if kind == "N" else len(text)) for name, (kind, text) in values)
    assert found == pytest.approx(LEASE_BYTES, rel=0.03)


def test_sizing_takes_the_cpu_of_an_event_that_the_page_names() -> None:
    """docs/how-to/size.md: 9.3 µs for an event of 1 KB, 0.6 ms for a file, 0.63 ms for a poll."""
    load = Load(events=10_000, event_bytes=1000, shards=10, customers=1, types=30)
    assert size(load).cores == pytest.approx(10_000 * 9.3e-6 + 30 / 300 * 0.6e-3 + 10 / 2 * 0.63e-3)


def test_sizing_matches_the_requests_of_a_run_with_files_within_seconds() -> None:
    """docs/how-to/files-within-seconds.md: $666 a month, of which $33 for GETs of segments."""
    fast = Load(events=100, event_bytes=1000, shards=16, customers=10, types=20, period=4)
    assert sum(cost.dollars for cost in size(fast).costs if "GB" not in cost.name) == pytest.approx(666, rel=0.01)
    assert dollars(fast, "GET segments to publish (at most)") == pytest.approx(33, rel=0.03)


def test_sizing_counts_the_ranged_gets_of_a_day_of_ids() -> None:
    """docs/performance.md: 559 for a plan of 1.39 million events and 288 plans."""
    day = Load(events=1.39e6 / 300, event_bytes=1000, shards=16, customers=10, types=20, window=86_400)
    assert count(day, "GET ids of the window") / (730 * 12) == pytest.approx(559, rel=0.01)
    assert not [cost for cost in size(SMALL).costs if cost.name == "GET ids of the window"], "whole ids take none"


def test_sizing_says_what_a_start_reads() -> None:
    """docs/performance.md: 400 million ids of a day took 24.5 s of CPU; 14.4 million whole ones 0.04 µs each."""
    day = size(Load(events=4e8 / 86_400, event_bytes=1000, shards=16, customers=1, types=1, window=86_400))
    assert day.restart_bytes == pytest.approx(8e9)
    assert day.restart_cpu == pytest.approx(24.5, rel=0.03)
    assert size(dataclasses.replace(SMALL, events=1000)).restart_cpu == pytest.approx(3.6e6 * 0.04e-6)


def test_sizing_gives_the_settings_that_differ_from_their_defaults() -> None:
    """As a settings file takes them."""
    assert list(size(SMALL).settings) == ["coordination", "memory"]
    asked = size(
        dataclasses.replace(SMALL, window=86_400, period=1800, commit_every=30, poll=0.5, failover=20, keep=7200)
    )
    assert dict(asked.settings) == {
        "source": {"poll": "500ms"},
        "dedup": {"window": "1d"},
        "commit": {"every": "30s", "keep": "2h"},
        "publish": {"period": "30m"},
        "coordination": {"mode": "local", "failover": "20s"},
        "memory": {"limit": "256MiB", "keys": "165MiB"},
    }
    needed = {"source": {"stream": "s"}, "event": dict.fromkeys(("customer", "type", "id", "time"), "x")}
    whole = {name: {**needed.get(name, {}), **asked.settings.get(name, {})} for name in {*needed, *asked.settings}}
    assert Settings.model_validate({**whole, "store": {"url": "file:///x"}}).dedup.window == 86_400_000


def test_sizing_says_what_dedup_reach_leaves_out_where_the_window_is_longer() -> None:
    """It is no option: the value is the default."""
    week = size(dataclasses.replace(SMALL, window=7 * 86_400)).warnings
    assert [text for text in week if text.startswith("dedup.reach stays at 1d: an event that arrived longer than that")]
    day = size(dataclasses.replace(SMALL, window=86_400)).warnings
    assert not [text for text in day if "dedup.reach" in text]


def test_sizing_says_that_one_worker_has_no_standby() -> None:
    assert "no standby" in size(SMALL).warnings[-1]
    assert not [line for line in size(HUGE).warnings if "standby" in line]


def test_sizing_warns_when_the_shards_are_too_few() -> None:
    assert "10 are needed" in size(dataclasses.replace(SMALL, events=10_000, event_bytes=100)).warnings[0]


def test_sizing_warns_when_objects_cost_more_than_their_events() -> None:
    found = size(dataclasses.replace(SMALL, customers=1000, types=30, events=1000, shards=4)).warnings
    assert 'publish.period = "1h"' in found[0]


def test_a_shard_is_planned_for_one_process_and_a_note_says_what_would_be_right() -> None:
    """Objects take CPU, too: here more than one process would be right."""
    load = dataclasses.replace(SMALL, events=1000, shards=1, customers=200_000, types=10)
    found = size(load)
    assert found.processes == found.shards_each == 1
    assert found.cores > 0.5
    assert any("a shard is read by one process" in line for line in found.warnings)
    wider = size(dataclasses.replace(load, shards=4))
    assert 1 < wider.processes <= 4
    assert not any("read by one process" in line for line in wider.warnings)


def test_event_max_bytes_is_among_the_settings_when_events_are_larger_than_its_default() -> None:
    large = size(dataclasses.replace(SMALL, events=1, event_bytes=5_000_000, shards=8))
    assert large.settings["event"] == {"max_bytes": "10MiB"}
    assert any("event.max_bytes" in line for line in large.warnings)
    assert "event" not in size(SMALL).settings


def test_impossible_is_none_at_the_limits_of_kinesis() -> None:
    assert (
        impossible(dataclasses.replace(SMALL, events=1, event_bytes=10 << 20, shards=10, window=365 * 86_400)) is None
    )
    assert impossible(dataclasses.replace(SMALL, events=1, event_bytes=10 << 20, shards=9)) is not None

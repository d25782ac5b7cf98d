"""The whole pipeline against emulators: real protocols, a real process, content asserted."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.harness import (
    Producer,
    Site,
    check_exactly_once,
    check_manifests,
    client,
    event_of,
    make_stream,
    stopped,
    until,
    wait_active,
)
from tests.servers import free_port, wait_for
from vortex_loader.store import open_store

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "s3"])
def site(request: pytest.FixtureRequest, moto_url: str, tmp_path: Path) -> Site:
    """A stream of four shards on moto, and a store of either kind."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    make_stream(moto_url, name, 4)
    if request.param == "s3":
        client("s3", moto_url).create_bucket(Bucket=name)
        made = Site(moto_url, name, f"s3://{name}/out", tmp_path / "v.toml", moto_url)
    else:
        made = Site(moto_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    made.configure()
    return made


def put(site: Site, *rows: tuple[str, bytes]) -> None:
    """Put records by partition key."""
    kinesis = client("kinesis", site.kinesis)
    for key, data in rows:
        kinesis.put_record(StreamName=site.stream, PartitionKey=key, Data=data)


def verified(site: Site) -> None:
    """Assert that `vortex verify` passes."""
    done = site.call("verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_second_drain_publishes_only_new_events(site: Site) -> None:
    """Three puts of each event, a drain, more events, another drain."""
    names = [f"id-{n}" for n in range(60)]
    put(site, *((name, event_of(name)) for name in names * 3))
    site.drain()
    first = site.objects()
    assert check_exactly_once(site, Counter(names * 3)) == 60
    more = [f"more-{n}" for n in range(20)]
    put(site, *((name, event_of(name)) for name in more + names[:30]))
    site.drain()
    assert check_exactly_once(site, Counter(names + more)) == 80
    assert first.items() <= site.objects().items(), "published objects never change"
    verified(site)


def test_old_events_are_published_in_their_own_hours_with_a_large_lateness(site: Site) -> None:
    """A backfill: a manifest for each hour with events, and none for the empty hours between."""
    site.configure(lateness="20y", period="5m")
    years = range(2013, 2025)
    rows = [
        json.dumps({"id": f"y{year}", "customer": "c", "type": "t", "at": f"{year}-03-04T05:06:07Z"}).encode()
        for year in years
    ]
    put(site, *((str(n), row) for n, row in enumerate(rows)))
    site.drain()
    folders = {json.loads(line)["id"]: folder for folder, line in site.lines()}
    assert folders == {f"y{y}": f"customer=c/event_type=t/date={y}-03-04/hour=05" for y in years}
    hours = {key for key in site.objects() if key.startswith("_hours/")}
    assert {f"_hours/date={y}-03-04/hour=05/manifest.json" for y in years} <= hours
    assert len(hours) == len(years)
    check_manifests(site)
    verified(site)


def test_two_uncoordinated_processes_publish_each_event_once(site: Site) -> None:
    """Both read every shard and race for the log."""
    producer = Producer(site, Random(5))
    workers = [site.start(), site.start()]
    with stopped(*workers):
        producer.start()
        until(lambda: site.published() >= 100)  # at most 21 a period, so they raced over several commits and plans
        sent = producer.finish()
        assert [worker.poll() for worker in workers] == [None, None]
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(60) for worker in workers] == [0, 0]
    site.drain()
    assert check_exactly_once(site, sent) > 100
    verified(site)


def test_bad_records_are_rejected_and_unusual_names_are_published_safely(site: Site) -> None:
    """No crash, no loss, and the good records are published."""
    bad = {
        "not_json": b"{broken",
        "not_utf8": b'{"id":"1","customer":"\xff","type":"t"}',
        "bad_compression": gzip.compress(b"x" * 100)[:-9],
        "not_an_object": b"[1, 2]",
        "missing_customer": b'{"id":"1","type":"t"}',
        "bad_customer": b'{"id":"1","customer":{},"type":"t"}',
        "too_deep": b'{"id":"1","customer":"c","type":"t","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "too_large": b'{"id":"1","type":"t","customer":"' + b"n" * 900_000 + b'"}',
        "duplicate_key": b'{"id":"1","id":"2","customer":"c","type":"t"}',
    }
    unusual = ["../../etc", "a\x00b", "100%", "a=b", "\U0001f600", "c" * 512, ".."]
    good = [
        json.dumps({"id": f"unusual{n}", "customer": name, "type": name}).encode() for n, name in enumerate(unusual)
    ]
    put(site, *((str(n), data) for n, data in enumerate([*bad.values(), *good])))
    site.drain()
    assert sorted(line for _, line in site.lines()) == sorted(good)
    assert all(folder.count("/") == 3 and ".." not in folder.split("/") for folder, _ in site.lines())
    rejected = Counter(row["reason"] for row in site.rejections())
    assert rejected == Counter({**dict.fromkeys(bad, 1), "not_an_object": 2})
    verified(site)


def published_more(site: Site) -> None:
    """Wait until more is published."""
    before = site.published()
    until(lambda: site.published() > before)


def test_worker_stops_within_the_grace_period_and_the_next_one_continues(site: Site) -> None:
    """SIGTERM gives exit code 0; nothing is read twice, nothing is lost."""
    producer = Producer(site, Random(9))
    producer.start()
    for _ in range(2):
        worker = site.start()
        with stopped(worker):
            published_more(site)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
    sent = producer.finish()
    site.drain()
    check_exactly_once(site, sent)
    verified(site)


def test_worker_stops_with_ok_while_its_stream_does_not_exist(tmp_path: Path, moto_url: str) -> None:
    """Until then it is alive, not ready, and retries slowly."""
    site = Site(moto_url, "no-such-stream", (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    port = free_port()
    site.configure()
    site.config.write_text(site.config.read_text().replace("port = 0", f"port = {port}"))
    worker = site.start()
    with stopped(worker):
        wait_for(port, worker)
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as reply:
            assert reply.status == 200
        with pytest.raises(HTTPError) as caught:
            urlopen(f"http://127.0.0.1:{port}/readyz?verbose", timeout=5)
        assert caught.value.code == 503
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0


def test_run_names_the_port_setting_when_the_port_is_in_use(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = site.config.read_text()
        site.config.write_text(text.replace("port = 0", f"port = {taken.getsockname()[1]}"))
        done = site.call("run", "--drain")
    assert done.returncode == 3
    assert "http.port" in done.stderr


def test_run_exits_with_lost_state_when_the_store_is_of_another_stream(site: Site) -> None:
    """Two streams in one place would write the same keys."""
    put(site, ("a", event_of("a")))
    site.drain()
    other = f"{site.stream}-other"
    make_stream(site.kinesis, other, 1)
    foreign = Site(site.kinesis, other, site.store, site.config, site.s3)
    foreign.configure()
    done = foreign.call("run", "--drain")
    assert done.returncode == 5
    assert "its own prefix" in done.stderr


def reshard(kinesis: object, name: str) -> str:
    """Split the first open shard, and merge the halves once each has records. Returns the merged shard."""
    shards = kinesis.list_shards(StreamName=name)["Shards"]  # type: ignore[attr-defined]
    parent = next(s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"])
    span = parent["HashKeyRange"]
    middle = (int(span["StartingHashKey"]) + int(span["EndingHashKey"])) // 2
    kinesis.split_shard(  # type: ignore[attr-defined]
        StreamName=name, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(middle)
    )
    wait_active(kinesis, name)
    halves = [
        s["ShardId"]
        for s in kinesis.list_shards(StreamName=name)["Shards"]  # type: ignore[attr-defined]
        if s.get("ParentShardId") == parent["ShardId"]
    ]
    until(lambda: all(has_records(kinesis, name, half) for half in halves))
    kinesis.merge_shards(  # type: ignore[attr-defined]
        StreamName=name, ShardToMerge=halves[0], AdjacentShardToMerge=halves[1]
    )
    wait_active(kinesis, name)
    shards = kinesis.list_shards(StreamName=name)["Shards"]  # type: ignore[attr-defined]
    return next(str(s["ShardId"]) for s in shards if s.get("ParentShardId") in halves)


def has_records(kinesis: object, name: str, shard: str) -> bool:
    """Whether anything was put into the shard."""
    where = {"StreamName": name, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**where)["ShardIterator"]  # type: ignore[attr-defined]
    return bool(kinesis.get_records(ShardIterator=iterator)["Records"])  # type: ignore[attr-defined]


def read(site: Site, shard: str) -> bool:
    """Whether the shard has a log."""
    done = site.call("status", "--json")
    return done.returncode == 0 and any(
        row["shard"] == shard and row["position"] for row in json.loads(done.stdout)["shards"]
    )


def test_shards_that_split_and_merge_while_running_or_stopped_are_read_once(
    kinesis_local_url: str, tmp_path: Path
) -> None:
    """Shards that close during the run, and shards that closed while no worker ran."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    kinesis = make_stream(kinesis_local_url, name, 2)
    site = Site(kinesis_local_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    producer = Producer(site, Random(3), pause_s=0.2, batch=10)
    producer.start()
    worker = site.start()
    with stopped(worker):
        until(lambda: site.published() > 0)
        merged = reshard(kinesis, name)
        until(lambda: read(site, merged))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    reshard(kinesis, name)
    sent = producer.finish()
    site.drain()
    assert check_exactly_once(site, sent) > 50
    verified(site)


@pytest.mark.parametrize("site", ["s3"], indirect=True)
def test_small_partitions_are_bundled_and_the_loader_reads_them(site: Site) -> None:
    """With each program as it is shipped: an object for all of them, and one manifest."""
    site.configure(lateness="20y", period="5m")
    site.config.write_text(site.config.read_text() + '\n[layout]\nsmall = "64KiB"\n')
    at = "2024-03-04T05:06:07Z"
    sent = {f"c{n}": json.dumps({"id": f"id-{n}", "customer": f"c{n}", "type": "t", "at": at}) for n in range(30)}
    put(site, *((name, text.encode()) for name, text in sent.items()))
    site.drain()
    (bundle, manifest) = site.objects()
    assert bundle == "_bundles/date=2024-03-04/hour=05/0505-000-000.json.gz"
    assert manifest == "_hours/date=2024-03-04/hour=05/manifest.json"
    verified(site)
    store = open_store(site.store, endpoint_url=site.s3, region="us-east-1")
    for part in store.hour(datetime(2024, 3, 4, 5, tzinfo=UTC)).partitions:
        blocks = [block for stored in store.objects(part) for block in store.blocks(stored)]
        assert b"".join(blocks).decode() == sent.pop(part.customer) + "\n"
    assert not sent

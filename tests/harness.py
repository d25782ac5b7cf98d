"""Shared parts of integration tests and long-running scripts: streams, producers, workers, reading the store."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlparse

import boto3

SETTINGS = """
[source]
stream = "{stream}"
endpoint_url = "{kinesis}"
[event]
customer = ["org.login", "repo.name", "customer"]
type = "type"
id = "id"
time = ["created_at", "at"]
[store]
url = "{store}"
{s3}
[commit]
every = "{every}"
keep = "{keep}"
[publish]
period = "{period}"
[hours]
allowed_lateness = "{lateness}"
[http]
port = 0
[log]
level = "warning"
"""


def client(service: str, url: str) -> Any:
    """A boto3 client of an emulator."""
    return boto3.client(service, endpoint_url=url, region_name="us-east-1")


def make_stream(url: str, name: str, shards: int) -> Any:
    """Create a stream and wait until it is ready; its client."""
    kinesis = client("kinesis", url)
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    wait_active(kinesis, name)
    return kinesis


def wait_active(kinesis: Any, name: str) -> None:
    """Wait until the stream can be written to and resharded."""

    def active() -> bool:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return bool(summary["StreamStatus"] == "ACTIVE")

    until(active)


@dataclass
class Site:
    """One stream, one store, one configuration file."""

    kinesis: str
    stream: str
    store: str
    config: Path
    s3: str | None = None
    frozen: dict[str, bytes] | None = None
    """The result of `objects` after `freeze`, when nothing writes any more."""

    def freeze(self) -> None:
        """Read the store once for all later calls."""
        self.frozen = self.objects()

    def configure(self, **changes: str) -> None:
        """Write the configuration file."""
        values = {"every": "1s", "keep": "0s", "period": "1s", "lateness": "1s", **changes}
        s3 = f'endpoint_url = "{self.s3}"' if self.s3 else ""
        text = SETTINGS.format(stream=self.stream, kinesis=self.kinesis, store=self.store, s3=s3, **values)
        self.config.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """The program's command line."""
        group = 2 if arguments[0] == "rejects" else 1
        return [sys.executable, "-m", "vortex", *arguments[:group], "-c", str(self.config), *arguments[group:]]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=300)

    def start(self, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a worker, which runs until it is stopped."""
        with (log or Path(os.devnull)).open("ab") as file:
            return subprocess.Popen(self.command("run"), stdout=file, stderr=file)

    def drain(self) -> None:
        """`vortex run --drain`. Raises AssertionError with its errors where it fails."""
        done = self.call("run", "--drain")
        assert done.returncode == 0, done.stderr

    def objects(self) -> dict[str, bytes]:
        """Everything in the store by key, except Vortex's own state."""
        if self.frozen is not None:
            return self.frozen
        if self.store.startswith("file://"):
            root = Path(urlparse(self.store).path)
            files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
            found = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
        else:
            found = dict(self._bucket())
        return {key: body for key, body in sorted(found.items()) if not key.startswith("_vortex/")}

    def published(self) -> int:
        """The number of published objects; unlike `objects`, it can be called while workers write and clean up."""
        if self.store.startswith("file://"):
            return sum(1 for _ in Path(urlparse(self.store).path).glob("customer=*/*/*/*/*.gz"))
        bucket, _, prefix = self.store.removeprefix("s3://").partition("/")
        assert self.s3 is not None
        pages = client("s3", self.s3).get_paginator("list_objects_v2")
        return sum(page["KeyCount"] for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}/customer="))

    def _bucket(self) -> Iterator[tuple[str, bytes]]:
        bucket, _, prefix = self.store.removeprefix("s3://").partition("/")
        assert self.s3 is not None
        s3 = client("s3", self.s3)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
            for row in page.get("Contents", ()):
                body = s3.get_object(Bucket=bucket, Key=row["Key"])["Body"].read()
                yield row["Key"][len(prefix) + 1 :], body

    def lines(self) -> list[tuple[str, bytes]]:
        """Every published line with its folder."""
        return [
            (key.rpartition("/")[0], line)
            for key, body in self.objects().items()
            if not key.startswith("_") and key.endswith(".gz")
            for line in gzip.decompress(body).split(b"\n")[:-1]
        ]

    def rejections(self) -> list[dict[str, Any]]:
        """Every rejection line."""
        return [
            json.loads(line)
            for key, body in self.objects().items()
            if key.startswith("_rejected/")
            for line in gzip.decompress(body).split(b"\n")[:-1]
        ]


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll other processes until `what` holds. Raises AssertionError after the timeout."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.1)  # real processes: there is nothing to await


def hour_ends_in(seconds: float) -> int:
    """How far in the past events must be, in seconds, so that one of their hours ends after the given time."""
    now = time.time() % 3600
    return int(7200 + now - (3600 if now > 3600 - seconds else 0) + seconds)


def settle(site: Site, check: Callable[[], None], lag_s: float = 15.0, seconds: float = 300.0) -> float:
    """Wait until every live shard's lag is at most so long; how long that took. `check` is called all the while.

    An idle shard's watermark keeps five seconds behind the clock, and is committed every second. Raises SystemExit.
    """
    begin = time.monotonic()
    worst: float | str = ""
    while time.monotonic() - begin < seconds:
        check()
        done_status = site.call("status", "--json")
        worst = done_status.stderr
        if done_status.returncode == 0:
            rows = json.loads(done_status.stdout)["shards"]
            lags = [row["lag_s"] for row in rows if row["state"] != "ended"]
            worst = max((lag if lag is not None else float("inf") for lag in lags), default=float("inf"))
            if worst <= lag_s:
                return time.monotonic() - begin
        time.sleep(2)  # other processes: there is nothing to await
    raise SystemExit(f"after {seconds:.0f} quiet seconds the lag is still {worst}")


@contextmanager
def stopped(*workers: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the workers at the end of the block."""
    try:
        yield
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGKILL)
            worker.wait()


@dataclass
class Producer(threading.Thread):
    """Puts seeded events until it is stopped: each id once or several times, with the id as partition key."""

    site: Site
    rng: Random
    repeat: float = 0.2
    pause_s: float = 0.02
    batch: int = 20
    shift_s: float = 0.0
    """How far in the past the times of the events are."""
    sent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.failure: BaseException | None = None

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """The thread's work."""
        kinesis = client("kinesis", self.site.kinesis)
        number = 0
        recent: list[str] = []
        try:
            while not self.ended.is_set():
                ids = []
                for _ in range(self.batch):
                    if recent and self.rng.random() < self.repeat:
                        ids.append(self.rng.choice(recent[-200:]))
                    else:
                        number += 1
                        ids.append(f"id-{number}@{time.time() - self.shift_s:.3f}")
                        recent.append(ids[-1])
                self._put(kinesis, ids)
                self.ended.wait(self.pause_s)
        except BaseException as problem:  # noqa: BLE001 - kept for the joining thread: it would be lost here
            self.failure = problem

    def _put(self, kinesis: Any, ids: list[str]) -> None:
        rows = [{"Data": event_of(name), "PartitionKey": f"{self.rng.getrandbits(40)}"} for name in ids]
        while rows:
            reply = kinesis.put_records(StreamName=self.site.stream, Records=rows)
            rows = [row for row, answer in zip(rows, reply["Records"], strict=True) if answer.get("ErrorCode")]
        self.sent.update(ids)

    def finish(self) -> Counter[str]:
        """Stop; how often each id was put."""
        self.ended.set()
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.sent


def event_of(name: str) -> bytes:
    """The event of an id: the same bytes each time. Its time follows the @ in the id, if there is one."""
    seed = Random(name)
    event = {
        "id": name,
        "customer": f"c{seed.randrange(7)}",
        "type": f"t{seed.randrange(3)}",
        "x": seed.getrandbits(64),
    }
    if "@" in name:
        event["at"] = float(name.partition("@")[2])
    return json.dumps(event).encode()


def check_exactly_once(site: Site, sent: Counter[str]) -> int:
    """Every id that was put is in exactly one published line, bytes unchanged, in its folder. The number of ids."""
    seen: Counter[str] = Counter()
    for folder, line in site.lines():
        event = json.loads(line)
        assert line == event_of(event["id"]), f"bytes of {event['id']} were changed"
        assert folder.startswith(f"customer={event['customer']}/event_type={event['type']}/"), folder
        seen[event["id"]] += 1
    lost, twice = sorted(set(sent) - set(seen)), sorted(name for name, times in seen.items() if times > 1)
    assert not lost, f"{len(lost)} lost, the first: {lost[:5]}"
    assert not twice, f"{len(twice)} twice, the first: {twice[:5]}"
    assert not set(seen) - set(sent)
    return len(seen)


def check_manifests(site: Site) -> int:
    """Every closed hour's manifests list exactly what its folders hold. The number of closed hours."""
    objects = site.objects()
    hours = [key for key in objects if key.startswith("_hours/")]
    for key in hours:
        manifest = json.loads(objects[key])
        tail = key.removeprefix("_hours/").removesuffix("/manifest.json")
        folders = {k.rpartition("/")[0] for k in objects if not k.startswith("_") and f"/{tail}/" in k}
        assert {row["folder"] for row in manifest["partitions"]} == folders
        for row in [*manifest["partitions"], *manifest["rejected"]]:
            listed = json.loads(objects[row["manifest"]])["entries"]
            there = {k: len(body) for k, body in objects.items() if k.rpartition("/")[0] == row["folder"]}
            assert {e["url"].removeprefix(site.store + "/"): e["meta"]["content_length"] for e in listed} == there
            assert all(entry["mandatory"] for entry in listed)
            assert row["objects"] == len(there)
    return len(hours)

"""A fleet under stress: `python -m tests.fleet_soak --minutes 10 --workers 5 --shards 16`.

Workers share a stream of kinesis-local by leases in ministack's DynamoDB. Every ten seconds one of them is killed,
stopped or started; every half a minute a shard splits, or two merge; a producer puts events all the while, some twice.
The events' times lie some hours back, chosen so that an hour closes on the way. At the end the lag must come back to
seconds, every id must be in the store exactly once, manifests must match folders, and `vortex verify` must pass.
Takeover times are measured in the lease table: from the signal to a shard's next owner.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.harness import (
    Producer,
    Site,
    check_exactly_once,
    check_manifests,
    client,
    hour_ends_in,
    make_stream,
    settle,
    stopped,
    wait_active,
)
from tests.servers import CREDENTIALS, kinesis_local, ministack
from vortex.adapters.dynamodb.lease_row import read_row

EVERY_S = 10.0
"""Between two deeds."""
RESHARD_S = 30.0
LAG_S = 15.0
"""A takeover time that counts as seconds."""


@dataclass
class Watch(threading.Thread):
    """Looks at the lease table many times a second: who owns what, and how long an orphaned shard waits."""

    url: str
    table: str
    orphans: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    """By shard: its owner, what happened to the owner, and when."""
    took: list[tuple[str, str, float]] = field(default_factory=list)
    """What had happened, the shard, and the seconds until another worker owned it."""
    owners: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.failure: BaseException | None = None

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """The thread's work."""
        dynamodb = client("dynamodb", self.url)
        try:
            while not self.ended.wait(0.1):
                self._look(dynamodb)
        except BaseException as problem:  # noqa: BLE001 - `join` raises it: the error of a thread is lost otherwise
            self.failure = problem

    def _look(self, dynamodb: Any) -> None:
        items = dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        now = time.monotonic()
        leases = [lease for item in items if (lease := read_row(item)) is not None]
        with self._lock:
            self.owners = {lease.key: lease.owner for lease in leases if lease.owner is not None}
            ended = {lease.key for lease in leases if lease.checkpoint.ended}
            for shard, (before, why, since) in list(self.orphans.items()):
                owner = self.owners.get(shard)
                if shard in ended:
                    del self.orphans[shard]  # released by its owner
                elif owner is not None and owner != before:
                    self.took.append((why, shard, now - since))
                    del self.orphans[shard]

    def orphaned(self, pid: int, why: str) -> int:
        """Something happens to the worker of that process now; how many shards it has."""
        with self._lock:
            theirs = {shard: owner for shard, owner in self.owners.items() if f":{pid}:" in owner}
            # The next owner dies as well: the shard waits since the first death.
            for shard, owner in theirs.items():
                since = self.orphans[shard][2] if shard in self.orphans else time.monotonic()
                self.orphans[shard] = (owner, why, since)
            return len(theirs)

    def finish(self) -> None:
        """Stop looking."""
        self.ended.set()
        self.join()
        if self.failure is not None:
            raise self.failure


class Fleet:
    """The worker processes, and the actions on them."""

    def __init__(self, site: Site, watch: Watch, stack: ExitStack, rng: Random, folder: Path, size: int) -> None:
        self.site, self.watch, self.rng, self.size = site, watch, rng, size
        self.running: list[subprocess.Popen[bytes]] = []
        self.deeds = {"killed": 0, "stopped": 0, "started": 0}
        self.stop_s: list[float] = []
        self._stack, self._folder = stack, folder

    def start(self) -> None:
        """Start a worker."""
        self.deeds["started"] += 1
        worker = self.site.start(self._folder / f"worker-{self.deeds['started']}.log")
        self._stack.enter_context(stopped(worker))
        self.running.append(worker)

    def kill(self) -> None:
        """Kill a worker."""
        worker = self._one()
        self.deeds["killed"] += 1
        self.watch.orphaned(worker.pid, "killed")
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self, worker: subprocess.Popen[bytes] | None = None) -> None:
        """Stop a worker, which must exit with code 0."""
        worker = worker or self._one()
        self.deeds["stopped"] += 1
        self.watch.orphaned(worker.pid, "stopped")
        begin = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(120)
        self.stop_s.append(time.monotonic() - begin)
        if code:
            raise SystemExit(f"a worker that was asked to stop ended with {code}; see {self._folder}")

    def deed(self) -> str:
        """One of these actions. The last worker stays; the more are missing, the likelier one is started."""
        self.check()
        choices = [self.kill, self.stop] if len(self.running) > 1 else []
        choices += [self.start] * 2 * (self.size - len(self.running))
        chosen = self.rng.choice(choices)
        chosen()
        return chosen.__name__

    def check(self) -> None:
        """A worker that ends by itself is a failure."""
        for worker in self.running:
            if worker.poll() is not None:
                raise SystemExit(f"a worker ended by itself with {worker.returncode}; see {self._folder}")

    def _one(self) -> subprocess.Popen[bytes]:
        return self.running.pop(self.rng.randrange(len(self.running)))


def reshard(site: Site, rng: Random, shards: int) -> str:
    """Split a shard, or merge two neighbours, keeping about as many as there were."""
    kinesis = client("kinesis", site.kinesis)
    rows = kinesis.list_shards(StreamName=site.stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    rows.sort(key=lambda row: int(row["HashKeyRange"]["StartingHashKey"]))
    if len(rows) < 2 or rng.random() * 2 * len(rows) < shards:
        row = rng.choice(rows)
        start, end = (int(row["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        kinesis.split_shard(
            StreamName=site.stream, ShardToSplit=row["ShardId"], NewStartingHashKey=str((start + end) // 2 + 1)
        )
        done = "split"
    else:
        at = rng.randrange(len(rows) - 1)
        kinesis.merge_shards(
            StreamName=site.stream, ShardToMerge=rows[at]["ShardId"], AdjacentShardToMerge=rows[at + 1]["ShardId"]
        )
        done = "merge"
    wait_active(kinesis, site.stream)
    return done


def torment(fleet: Fleet, site: Site, rng: Random, seconds: float, shards: int) -> None:
    """Deeds and reshardings at their times."""
    begin = time.monotonic()
    deed, other = begin + EVERY_S, begin + RESHARD_S / 2
    while (now := time.monotonic()) < begin + seconds:
        if now >= deed:
            deed += EVERY_S
            said = fleet.deed()
        elif now >= other:
            other += RESHARD_S
            said = reshard(site, rng, shards)
        else:
            time.sleep(0.05)  # real processes: there is nothing to await
            continue
        print(f"  {now - begin:5.0f} s: {said}, {len(fleet.running)} workers", flush=True)


def shared_out(watch: Watch, fleet: Fleet, shards: int) -> None:
    """Wait until every shard has an owner, and every worker a shard. Raises SystemExit after two minutes."""
    begin = time.monotonic()
    while len(watch.owners) < shards or len(set(watch.owners.values())) < min(fleet.size, shards):
        fleet.check()
        if time.monotonic() > begin + 120:
            raise SystemExit(f"after two minutes the shards are shared out so: {watch.owners}")
        time.sleep(0.1)  # real processes: there is nothing to await
    print(f"  shared out {time.monotonic() - begin:.1f} s after the first worker made the table", flush=True)


def summary(watch: Watch, why: str) -> str:
    """The takeover times after deeds of a kind."""
    times = [seconds for what, _, seconds in watch.took if what == why]
    if not times:
        return f"no shard of a worker that was {why} waited"
    median, worst = statistics.median(times), max(times)
    return (
        f"{len(times)} shards of workers that were {why}: taken over in {median:.1f} s (median), {worst:.1f} s (worst)"
    )


def main(arguments: list[str] | None = None) -> int:
    """0 when everything holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--failover", default="10s")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    print(
        f"{options.workers} workers, {options.shards} shards, {options.minutes:g} minutes, fail-over "
        f"{options.failover}, seed {options.seed}",
        flush=True,
    )
    os.environ.update(CREDENTIALS)
    rng = Random(options.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-fleet-")))
        kinesis, dynamodb = stack.enter_context(kinesis_local()), stack.enter_context(ministack())
        make_stream(kinesis, "soaked", options.shards)
        site = Site(kinesis, "soaked", (folder / "out").as_uri(), folder / "vortex.toml")
        # The frontier passes a full hour half-way through.
        shift = hour_ends_in(options.minutes * 30)
        site.configure(lateness=f"{shift + 1}s")
        with site.config.open("a") as config:
            config.write(f'[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb}"\n')
            config.write(f'failover = "{options.failover}"\n')
        watch = Watch(dynamodb, "vortex-soaked")
        fleet = Fleet(site, watch, stack, rng, folder, options.workers)
        for _ in range(options.workers):
            fleet.start()
        producer = Producer(site, Random(options.seed), shift_s=shift)
        producer.start()
        wait_for_table(dynamodb, watch.table)
        watch.start()
        shared_out(watch, fleet, options.shards)
        torment(fleet, site, rng, options.minutes * 60, options.shards)
        while len(fleet.running) < options.workers:
            fleet.start()
        quiet = settle(site, fleet.check, LAG_S)
        sent = producer.finish()
        for worker in [fleet.running.pop() for _ in range(len(fleet.running))]:
            fleet.stop(worker)
        watch.finish()
        site.drain()
        ids = check_exactly_once(site, sent)
        hours = check_manifests(site)
        if not watch.took:
            raise SystemExit("no takeover was seen: either nobody shared the work, or owners do not tell their process")
        verified = site.call("verify")
        print(verified.stdout + verified.stderr)
        print(", ".join(f"{count} {name}" for name, count in fleet.deeds.items()))
        print(summary(watch, "killed"))
        print(summary(watch, "stopped"))
        print(f"a polite stop took {statistics.median(fleet.stop_s):.1f} s (median), {max(fleet.stop_s):.1f} s (worst)")
        print(f"every shard's lag was back to {LAG_S:.0f} s or less {quiet:.1f} s after the last deed")
        print(
            f"{sum(sent.values())} events put, {ids} ids, each exactly once; {hours} hours closed; "
            f"verify {'passes' if verified.returncode == 0 else 'FAILS'}"
        )
        return verified.returncode


def wait_for_table(url: str, table: str) -> None:
    """Until the first worker has made the table."""
    dynamodb = client("dynamodb", url)
    end = time.monotonic() + 60
    while table not in dynamodb.list_tables()["TableNames"]:
        if time.monotonic() > end:
            raise SystemExit(f"no worker has made {table} in a minute")
        time.sleep(0.1)  # another process: there is nothing to await


if __name__ == "__main__":
    sys.exit(main())

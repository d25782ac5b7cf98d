"""The time until work continues after a worker died, by window: emulated Kinesis, a store on disk, real processes.

The window is full: for every five minutes of it there is a plan that published `--rows` ids. A worker that has all
of these in memory gets SIGKILL, and the next one starts at once. Prints the seconds from the signal to the first commit
of the new worker, and to its first published plan, which is compared with the whole window; and its CPU seconds until
then, which depend less on other programs. All figures include the start of Python.

    python -m benchmarks.takeover --windows 1 24
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from benchmarks.arguments import positive
from benchmarks.dedup import file_of
from tests.harness import Producer, Site, check_exactly_once, make_stream, stopped, until
from tests.servers import CREDENTIALS, moto_server
from vortex.adapters.disk.store import LocalDirStore
from vortex.core.publish.bounds import Recent
from vortex.core.publish.contents import Done, done
from vortex.core.publish.plan import Plan, PlanShard
from vortex.log.store import LogStore
from vortex.retry import Once

_PERIOD_MS = 300_000
_SHARDS = 4
_FIGURES = ("first commit", "CPU to it", "first plan", "CPU to it")


class Store:
    """A site's store, as files."""

    def __init__(self, site: Site) -> None:
        self.folder = Path(site.store.removeprefix("file://"))

    @property
    def root(self) -> Path:
        """The stream's state."""
        return next((self.folder / "_vortex").iterdir())

    def plans(self) -> list[Path]:
        """The folders of all plans, in order."""
        return sorted(self.root.glob("plans/*"))

    def at_rest(self) -> bool:
        """Whether there are plans, all of them done."""
        plans = list(self.folder.glob("_vortex/*/plans/*"))
        return bool(plans) and all((folder / "done.json").exists() for folder in plans)

    def committed(self, since: float) -> bool:
        """Whether a segment was written since that time."""
        return any(_written(path) > since for path in self.root.glob("shards/*/*.seg"))

    def held_against(self) -> int:
        """How many plans the last one is held against."""
        body = (self.plans()[-1] / "plan.json").read_bytes()
        return len(msgspec.json.decode(body, type=Plan).recent)

    def published(self, after: int, since: float = 0.0) -> bool:
        """Whether a plan after that one is done that has rows, since that time."""
        for folder in self.plans()[after + 1 :]:
            path = folder / "done.json"
            if _written(path) > since and msgspec.json.decode(path.read_bytes(), type=Done).totals["rows"]:
                return True
        return False


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


async def fill(store: Store, plans: int, rows: int) -> int:
    """Add plans that published random ids, one for every five minutes up to now; the number of the last one."""
    log_store = LogStore(LocalDirStore(store.folder), store.root.relative_to(store.folder).as_posix(), Once())
    last, recent, now = await log_store.plan(len(store.plans()) - 1), list[Recent](), int(time.time() * 1000)
    assert last is not None
    with ProcessPoolExecutor(1) as other:  # as the benchmark of deciding does: whose memory nobody minds
        for number in range(plans):
            k, upto = last.k + 1, now - (plans - number - 1) * _PERIOD_MS
            plan = msgspec.structs.replace(
                last,
                k=k,
                after=last.upto,
                upto=last.upto + 1,  # nothing lies there: all of it together is less than a period
                shards={shard: _unmoved(entry) for shard, entry in last.shards.items()},
                window=plans * _PERIOD_MS,
                since=k - len(recent),
                rows=rows,
                parts=1,
                arrived=(upto - _PERIOD_MS, upto),
                recent=tuple(recent),
            )
            last = await _publish(log_store, plan, other.submit(file_of, k, rows).result())
            recent.append(Recent(k, upto, 1, rows))
    return last.k


def _unmoved(entry: PlanShard) -> PlanShard:
    return msgspec.structs.replace(entry, first=entry.next)


async def _publish(log_store: LogStore, plan: Plan, decided: bytes) -> Plan:
    await log_store.put_plan(plan)
    await log_store.put_decided(plan.k, 0, decided)
    await log_store.put_done(done(plan, [], {}, [(await log_store.decided(plan.k, 0)).digest]))
    return plan


def _configure(site: Site, hours: int) -> None:
    site.configure(keep="1h")
    site.config.write_text(f'{site.config.read_text()}[dedup]\nwindow = "{hours}h"\n[memory]\nkeys = "2GiB"\n')


def _cpu_s(pid: int) -> float:
    """The CPU seconds that a process has taken; not a number where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def takeovers(hours: int, rows: int, rounds: int, seed: int) -> list[tuple[float, ...]]:
    """For each round the seconds and the CPU seconds to the first commit, and those to the first plan.

    Raises AssertionError, SystemExit.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-takeover-")))
        moto = stack.enter_context(moto_server())
        make_stream(moto, "events", _SHARDS)
        site = Site(moto, "events", (folder / "out").as_uri(), folder / "vortex.toml")
        _configure(site, hours)
        store, log = Store(site), folder / "worker.log"
        while not store.at_rest():
            with stopped(site.start(log)):
                until(store.at_rest)
        last = asyncio.run(fill(store, hours * 3_600_000 // _PERIOD_MS, rows))
        producer = Producer(site, Random(seed))
        worker, found = site.start(log), list[tuple[float, ...]]()
        producer.start()
        try:
            until(lambda: store.published(last), 300)
            for _ in range(rounds):
                known = len(store.plans()) - 1
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                begun = time.time()
                worker = site.start(log)
                until(partial(store.committed, begun), 300)
                commits = (time.time() - begun, _cpu_s(worker.pid))
                until(partial(store.published, known - 1, begun), 300)
                found.append((*commits, time.time() - begun, _cpu_s(worker.pid)))
        finally:
            with stopped(worker):
                pass
            sent = producer.finish()
        assert store.held_against() > hours * 3_600_000 // _PERIOD_MS, "the window was full"
        site.drain()
        check_exactly_once(site, sent)
        return found


def main() -> int:
    """Print a line for each window."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=positive, nargs="+", default=[1, 24], help="hours")
    parser.add_argument("--rows", type=positive, default=100_000, help="ids that each plan of the window published")
    parser.add_argument("--rounds", type=positive, default=5, help="kills for each window")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    os.environ.update(CREDENTIALS)
    for hours in chosen.windows:
        found = takeovers(hours, chosen.rows, chosen.rounds, chosen.seed)
        for name, seconds in zip(_FIGURES, zip(*found, strict=True), strict=True):
            each = " ".join(f"{one:.1f}" for one in seconds)
            print(f"window of {hours} h: {name} {statistics.median(seconds):.1f} s after SIGKILL ({each})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

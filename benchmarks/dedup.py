"""Deduplication alone: the filter at ingest, and deciding on a plan against those of its window.

Keys are random. Files are real, and so is the code that reads them: a `LogStore` over a folder.

    python -m benchmarks.dedup                                # an hour: 12 plans before
    python -m benchmarks.dedup --plans 288 --memory 1250MiB   # a day, 400 million keys; takes 8 GB of disk
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np

from benchmarks.arguments import positive
from vortex.adapters.clock import ThreadOffload
from vortex.adapters.disk.store import LocalDirStore
from vortex.adapters.heap import use_one_heap
from vortex.core.dedup.decided import encode
from vortex.core.dedup.index import Words
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.rows import RUN, PlanRuns, Rows
from vortex.core.ingest.filter import Filter
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import empty_footer
from vortex.core.model import Position, Start
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.bounds import Recent
from vortex.core.publish.plan import Plan
from vortex.log.store import LogStore
from vortex.publish.dedup import Resolver
from vortex.publish.published_keys import KeyCache
from vortex.retry import Once

T = TypeVar("T")
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PERIOD_MS = 300_000
_SEGMENTS = 320
"""Segments of a plan: 32 shards that commit every 30 seconds."""
_CHUNK = 1 << 16


def _timed(step: Callable[[], Any]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def of_filter(ids: int, page: int) -> dict[str, float]:
    """Bytes an id that is known, CPU microseconds an id: new ones at a steady rate, and ones that were seen."""
    rng, found = Random(1), Filter(600_000)
    pages = [rng.randbytes(KEY_BYTES * page) for _ in range(2 * ids // page)]
    every_ms, spent = 300_000 * page // ids + 1, 0.0
    for number, keys in enumerate(pages):
        at = number * every_ms
        spent += _timed(partial(found.claim, keys, at, at))
    last = len(pages) * every_ms
    seen = _timed(lambda: [found.claim(keys, last, last) for keys in pages[-10:]])
    return {
        "bytes_per_id": found.nbytes / len(found),
        "us_new": spent / (len(pages) * page) * 1e6,
        "us_seen": seen / (10 * page) * 1e6,
    }


def rss_mib() -> float:
    """The process's peak, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**20


def words(seed: int, count: int) -> tuple[Words, Words]:
    """Random keys as two columns."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 2**64 - 1, count, dtype=np.uint64, endpoint=True),
        rng.integers(0, 2**64 - 1, count, dtype=np.uint64, endpoint=True),
    )


def runs_of(k: int, rows: int) -> PlanRuns:
    """The runs of plan k: its rows, evenly over its segments."""
    table = np.zeros(_SEGMENTS, dtype=RUN)
    table["n"] = np.arange(_SEGMENTS)
    table["period"], table["lo"], table["hi"] = k * _PERIOD_MS, k * _PERIOD_MS, (k + 1) * _PERIOD_MS
    table["rows"] = rows // _SEGMENTS
    at = Position(Start.TRIM_HORIZON)
    footer = empty_footer("shard", owner="", created=0, position=at, watermark=0, closed_before=0)
    headers = [SegmentHeader("shard", n, "", footer) for n in range(_SEGMENTS)]
    return PlanRuns(["shard"], table, headers, [0] * _SEGMENTS)


def file_of(k: int, rows: int) -> bytes:
    """The file of plan k: all of its random keys are published."""
    high, low = words(k, rows)
    run = np.arange(rows, dtype=np.uint32) % _SEGMENTS
    some = Rows(high, low, run, np.arange(rows, dtype=np.uint32))
    return encode(k, 0, 1, runs_of(k, rows), some.by_key(), np.zeros(rows, dtype=np.bool_))


def rows_to_decide(k: int, rows: int, copies: float, plans: int) -> tuple[PlanRuns, dict[tuple[str, int], bytes], int]:
    """The plan whose rows are decided on, `copies` of them of keys of the last hour; how many these are."""
    high, low = words(k, rows)
    several = min(12, plans)
    copied = int(rows * copies) // several * several
    for at, old in enumerate(range(plans - several, plans)):
        its = slice(at * copied // several, (at + 1) * copied // several)
        before = words(old, rows)
        high[its], low[its] = before[0][: its.stop - its.start], before[1][: its.stop - its.start]
    mixed = np.random.default_rng(0).permutation(rows)
    ids = np.stack((high[mixed], low[mixed]), axis=1).astype(">u8")
    each = rows // _SEGMENTS
    blocks = {("shard", n): ids[n * each : (n + 1) * each].tobytes() for n in range(_SEGMENTS)}
    return runs_of(k, rows), blocks, copied


class _Timed:
    """Offload that counts the CPU seconds of each step by its name."""

    def __init__(self) -> None:
        self._threads, self.spent = ThreadOffload(), dict[str, float]()

    async def __call__(self, fn: Callable[..., T], /, *args: object) -> T:
        def timed() -> T:
            begun = time.thread_time()
            try:
                return fn(*args)
            finally:
                name = getattr(fn, "__name__", str(fn))
                self.spent[name] = self.spent.get(name, 0.0) + time.thread_time() - begun

        return await self._threads(timed)

    def close(self) -> None:
        self._threads.close()


async def measure(folder: Path, plans: int, rows: int, copies: float, memory: int) -> dict[str, Any]:
    """All figures of one window."""
    rows = rows // _SEGMENTS * _SEGMENTS
    log_store, offload, reads = LogStore(LocalDirStore(folder), "root", Once()), _Timed(), [0]
    with ProcessPoolExecutor(1) as other:  # whose memory is not measured
        for k in range(plans):
            await log_store.put_decided(k, 0, other.submit(file_of, k, rows).result())
        runs, blocks, copied = other.submit(rows_to_decide, plans, rows, copies, plans).result()

    def read() -> None:
        reads[0] += 1

    cache = KeyCache(log_store, offload, memory, read)
    recent = tuple(Recent(k, (k + 1) * _PERIOD_MS, 1, rows) for k in range(plans))
    none = np.empty(0, dtype=np.uint64)
    begun, before = time.perf_counter(), time.process_time()
    await cache.among(recent, 0, 1, none, none)
    warm = {"s": time.perf_counter() - begun, "cpu_s": time.process_time() - before, "requests": reads[0]}
    whole = sum(len(keys) for _, _, keys in cache.held() if isinstance(keys, Keys))
    held = {"keys": len(cache), "whole": whole, "bytes": cache.nbytes, "bytes_per_key": cache.nbytes / len(cache)}
    reads[0] = 0
    offload.spent.clear()
    plan = SimpleNamespace(k=plans, parts=1, recent=recent, window=plans * _PERIOD_MS, since=0)
    begun, before = time.perf_counter(), time.process_time()
    body, published = await Resolver(log_store, offload, cache).decide(cast(Plan, plan), (runs, blocks), 0)
    spent = time.process_time() - before
    offload.close()
    if rows - len(published) != copied:
        raise SystemExit(f"{rows - len(published)} rows were dropped, not {copied}")
    return {
        "plans": plans,
        "rows": rows,
        "dropped": copied,
        "held": held,
        "warm_up": warm,
        "decide": {"s": time.perf_counter() - begun, "cpu_s": spent, "us_per_row": spent / rows * 1e6},
        "steps_us_per_row": {name: seconds / rows * 1e6 for name, seconds in sorted(offload.spent.items())},
        "ranged_gets": reads[0],
        "file_bytes_per_row": len(body) / rows,
        "peak_mib": rss_mib(),
    }


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=positive, default=12, help="plans of five minutes in the window")
    parser.add_argument("--rows", type=positive, default=1_400_000, help="rows of a plan")
    parser.add_argument(
        "--copies", type=float, default=0.01, help="share of rows whose key was published in the last hour"
    )
    parser.add_argument("--memory", default="512MiB", help="memory.keys")
    parser.add_argument("--ids", type=positive, default=600_000, help="ids that a filter knows")
    parser.add_argument("--page", type=positive, default=1000, help="ids that come to a filter at once")
    parser.add_argument("--folder", type=Path, help="where the files go; default: a temporary folder")
    chosen = parser.parse_args()
    use_one_heap()  # as the program does
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    memory = int(chosen.memory[:-3]) * units[chosen.memory[-3:]]
    with tempfile.TemporaryDirectory(prefix="vortex-dedup-", dir=chosen.folder) as folder:
        figures = asyncio.run(measure(Path(folder), chosen.plans, chosen.rows, chosen.copies, memory))
    print(json.dumps({**figures, "filter": of_filter(chosen.ids, chosen.page)}))


if __name__ == "__main__":
    main()

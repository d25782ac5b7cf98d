"""The peak of memory while large records are read and a large plan is published: `python -m tests.publishing_memory`.

One process fills a folder with the log of a stream: events that compress little, for objects of 32 MiB. Another one
publishes it, and reads another stream meanwhile, all of whose records decompress to 64 MiB. Puts are slow. Prints the
peak of the second process in MiB.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from random import Random

from simulation import vtime
from simulation.memstream import MemoryStream
from tests.bombs import MIB, HastyClock, environment, peak_mib
from tests.chaos.bombs import made
from vortex.adapters.disk.store import LocalDirStore
from vortex.adapters.heap import use_one_heap
from vortex.core.log.segment import Footer
from vortex.ingest.worker import ShardWorker
from vortex.runtime.assembly import loaded_state, publisher_of, worker_factory
from vortex.runtime.environment import Environment

FOLDERS, EVENTS = 7, 48
_PUT_S = 0.02
"""Seconds of a put, for each MiB."""
_NAMES = "a line of 64 MiB in gzip", "64 MiB of {} lines in gzip", "32 Mi numbers in gzip"


class _SlowStore(LocalDirStore):
    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Put objects slowly."""
        await asyncio.sleep(_PUT_S * len(body) / MIB if key.endswith(".gz") else 0)
        return await super().put_if_absent(key, body, content_type)


def _environment(folder: Path, created_ms: int) -> tuple[Environment, MemoryStream]:
    clock = HastyClock()
    stream = MemoryStream(clock, limits=False)
    stream._created_ms = created_ms  # one stream in both processes
    env = environment(folder, stream, clock, vtime.NullMeter())
    env.store = _SlowStore(folder)
    return env, stream


async def fill(folder: Path, created_ms: int) -> None:
    """Write the log of a stream."""
    env, stream = _environment(folder, created_ms)
    [worker], running = await _workers(env)
    rng = Random(1)
    for number in range(FOLDERS * EVENTS):
        noise = base64.b64encode(rng.randbytes(700_000)).decode()
        event = {"customer": f"c{number % FOLDERS}", "type": "t", "id": str(number), "x": noise}
        stream.put("key", json.dumps(event).encode())
        while worker.status.totals.records <= number:
            await env.clock.sleep(0.001)
    worker.orders.stop.set()
    await running


async def _workers(env: Environment) -> tuple[list[ShardWorker], asyncio.Future[list[Footer | None]]]:
    state, log_store = await loaded_state(env)
    make = worker_factory(env, state, log_store, lambda shard, footer: None, lambda: False)
    workers = [make(shard) for shard in await env.stream.list_shards()]
    return workers, asyncio.gather(*(worker.run() for worker in workers))


async def publish(folder: Path, other: Path, created_ms: int) -> None:
    """Publish it, and read large records of another stream."""
    env, _ = _environment(folder, created_ms)
    beside, stream = _environment(other, created_ms)
    beside.room = env.room
    _, running = await _workers(beside)
    state, log_store = await loaded_state(env)
    publishing = asyncio.ensure_future(publisher_of(env, state, log_store).finish())
    number = 0
    while not publishing.done():
        stream.put("key", made(_NAMES[number % len(_NAMES)]))
        number += 1
        await asyncio.wait((publishing, running), timeout=0.3, return_when=asyncio.FIRST_COMPLETED)
        assert not running.done(), running.result()
    publishing.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def main() -> int:
    """0 when everything is published."""
    use_one_heap()
    created_ms = HastyClock().now_ms() - 60_000
    with tempfile.TemporaryDirectory(prefix="vortex-publishing-") as name:
        folder, other = Path(name) / "published", Path(name) / "read"
        child = os.fork()
        if not child:
            asyncio.run(fill(folder, created_ms))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            return 1
        asyncio.run(publish(folder, other, created_ms))
        size = sum(path.stat().st_size for path in folder.rglob("*.json.gz"))
    print(json.dumps({"published": size / MIB, "peak": peak_mib()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

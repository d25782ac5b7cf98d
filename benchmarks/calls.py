"""What one call costs: CPU microseconds of this process for GetRecords, PUT, GET and LIST, through the adapters.

Servers are processes of their own on loopback, over TLS unless an option says otherwise. `aiohttp` is the same exchange
of bytes without signature and decoding. Each figure is the least of several rounds. A round makes all calls in turn, so
that noise of the machine affects all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import ssl
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import network
from benchmarks.arguments import positive
from benchmarks.pages import STREAM, shard_id
from benchmarks.processes import Server, environment, server
from benchmarks.workload import WORKLOADS, recent_start
from vortex.adapters.kinesis.stream import open_kinesis_stream
from vortex.adapters.s3.store import open_s3_store
from vortex.core.model import Position, Start

Call = Callable[[], Awaitable[object]]
_REGION = "us-east-1"
_PAGES = {"idle": 0, "page of 100": 100, "page of 1,000": 1000}
"""Records of about 1 KB that a GetRecords reply brings."""
_SIZES = {"4 KiB": 4096, "1 MiB": 2**20}
_LISTED = 20


@asynccontextmanager
async def calls(
    stores: Server, streams: dict[str, Server], trusted: ssl.SSLContext | bool
) -> AsyncIterator[dict[str, Call]]:
    """Every call that is measured, by name."""
    async with AsyncExitStack() as stack:
        made: dict[str, Call] = {}
        bare = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)))
        for name, kinesis in streams.items():
            stream = await stack.enter_async_context(open_kinesis_stream(STREAM, _REGION, kinesis.url))
            first = await stream.iterator(shard_id(0), Position(Start.TRIM_HORIZON))
            assert first is not None
            made[f"GetRecords, {name}"] = lambda stream=stream, first=first: stream.read(shard_id(0), first)  # type: ignore[misc]
            made[f"aiohttp, {name}"] = lambda url=kinesis.url, first=first: _ask(bare, url, first)  # type: ignore[misc]
        store = await stack.enter_async_context(
            open_s3_store("s3://bench/prefix", region=_REGION, endpoint_url=stores.url)
        )
        number = count()
        for name, size in _SIZES.items():
            body = os.urandom(size)
            await store.put_if_absent(f"{size}/object", body)
            made[f"PUT, {name}"] = lambda body=body: store.put_if_absent(f"put/{next(number)}", body)  # type: ignore[misc]
            made[f"GET, {name}"] = lambda size=size: store.get(f"{size}/object")  # type: ignore[misc]
        made["GET a range of 64 KiB"] = lambda: store.get_range(f"{2**20}/object", 1000, 65536)
        for index in range(_LISTED):
            await store.put_if_absent(f"listed/{index:012d}.seg", b"x")

        async def listed() -> int:
            return len([info async for info in store.list("listed/")])

        made[f"LIST of {_LISTED}"] = listed
        yield made


def _replay(records: int) -> AbstractContextManager[Server]:
    """A stream of one page a shard."""
    start = recent_start(int(time.time() * 1000))
    shards = WORKLOADS["a"].shards
    return server("benchmarks.replay_server", f"--events={records * shards}", f"--start-ms={start}")


async def _ask(bare: aiohttp.ClientSession, url: str, iterator: str) -> bytes:
    body = json.dumps({"ShardIterator": iterator, "Limit": 10_000})
    headers = {"X-Amz-Target": "Kinesis_20131202.GetRecords", "Content-Type": "application/x-amz-json-1.1"}
    async with bare.post(url, data=body.encode(), headers=headers) as reply:
        return await reply.read()


async def measure(
    stores: Server, streams: dict[str, Server], trusted: ssl.SSLContext | bool, rounds: int, calls_each: int
) -> dict[str, float]:
    """CPU microseconds by call."""
    found: dict[str, list[float]] = defaultdict(list)
    async with calls(stores, streams, trusted) as made:
        for _ in range(rounds):
            for name, call in made.items():
                await call()
                begun = time.process_time()
                for _ in range(calls_each):
                    await call()
                found[name].append((time.process_time() - begun) / calls_each * 1e6)
    return {name: min(spent) for name, spent in found.items()}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=8)
    parser.add_argument("--calls", type=positive, default=60, help="of each kind a round")
    parser.add_argument("--json", action="store_true")
    network.add_options(parser)
    options = parser.parse_args()
    gc.set_threshold(50_000, 20, 50)  # as the worker has it
    with ExitStack() as stack:
        line = network.chosen(options, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-bench-"))))
        stores = stack.enter_context(line.to(stack.enter_context(server("benchmarks.store_server"))))
        streams = {
            name: stack.enter_context(line.to(stack.enter_context(_replay(records))))
            for name, records in _PAGES.items()
        }
        bundle = line.environment.get("AWS_CA_BUNDLE")
        trusted = ssl.create_default_context(cafile=bundle) if bundle else True
        os.environ.clear()
        os.environ.update(environment(line.environment))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(stores, streams, trusted, options.rounds, options.calls))
    if options.json:
        print(json.dumps(found))
        return
    table = Table(title="CPU a call, in microseconds")
    table.add_column("call")
    table.add_column("CPU", justify="right")
    for name, spent in found.items():
        table.add_row(name, f"{spent:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()

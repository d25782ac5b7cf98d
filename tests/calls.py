"""Every call of every client, as a worker makes it, through the fault proxy; and whether its result is right."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faultproxy import FaultProxy, no_fault, only
from tests.faults import FAULTS, services
from tests.tinyaws import SHARD, TinyAws
from vortex.adapters.aws import exchange
from vortex.adapters.dynamodb.lease_row import read_row, write_row
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.adapters.s3 import store as s3
from vortex.adapters.s3.store import S3Store, open_s3_store
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.model import Position, Start
from vortex.ports import NotFound, PortError, Unavailable

CAUSES = {"throttled", "conflict", "credentials", "kms", "server", "malformed", "other", "timeout", "connection"} | {
    "client", "delete", "clock", "inconsistent_end"
}  # fmt: skip
SLOW = {"silence", "silence_after", "silence_midway", "stops_reading", "slow", "trickle", "endless", "expect_ignored"}
"""Faults that last as long as the timeout: tried with one call of each kind."""
NOBODY_CAN_TELL = {
    "items_none",
    "items_junk",
    "carried_out_twice",
    "carried_out_late",
    "condition_own",
    "condition_false",
}
"""Faults in the service's own format, and changes that no reply shows: a caller cannot notice them."""
CLOSED = "keeps_and_closes"
"""Legal, and noticed by the second request of a call that must not be sent twice."""
MEANINGS_OF_KINESIS = frozenset(fault.name for fault in services.kinesis())
WAIT_S = 0.4
"""The timeout for faults of silence; otherwise it is `PATIENCE_S`, since machines can be busy."""
PATIENCE_S = 6.0


@dataclass
class World:
    """Clients of one proxy, and the truth behind it."""

    aws: TinyAws
    proxy: FaultProxy
    store: S3Store
    table: DynamoTable
    stream: KinesisStream
    names: itertools.count[int]

    def patience(self, seconds: float) -> None:
        """Set the timeout of all clients."""
        self.store._patience_s = self.stream._patience_s = seconds
        self.table._calls.patience_s = seconds

    def key(self) -> str:
        """A key that no test has used."""
        return f"new/{next(self.names):06d}"


@dataclass(frozen=True)
class Case:
    """One call as a worker makes it. `ask` prepares, calls, and returns the result and whether it is right."""

    name: str
    call: str
    ask: Callable[[World], Awaitable[tuple[Any, bool]]]
    alone: bool = True
    """Whether it represents its kind: long faults are not tried with every call."""


LEASE = Lease("shard", "me", 7, Checkpoint("5"), token="t")
SMALL, LARGE = b"small", bytes(range(256)) * 5000
THERE = {"dir/a": b"0123456789", "dir/b": b"b", "dir/c": b"", "dir/deeper/d": b"d", "e/f": b"f", "äö/ü +%": b"u"}


def put(body: bytes) -> Callable[[World], Awaitable[tuple[Any, bool]]]:
    async def ask(world: World) -> tuple[Any, bool]:
        key = world.key()
        created = await world.store.put_if_absent(key, body)
        return created, world.aws.objects.get(f"root/{key}") == body

    return ask


async def put_again(world: World) -> tuple[Any, bool]:
    created = await world.store.put_if_absent("dir/a", b"other")
    return created, not created and world.aws.objects["root/dir/a"] == THERE["dir/a"]


async def get(world: World) -> tuple[Any, bool]:
    body = await world.store.get("dir/a")
    return body, body == THERE["dir/a"]


async def get_unsummed(world: World) -> tuple[Any, bool]:
    """From a server without checksums."""
    world.aws.sums = False
    try:
        return await get(world)
    finally:
        world.aws.sums = True


async def get_range(world: World) -> tuple[Any, bool]:
    body = await world.store.get_range("dir/a", 2, 3)
    return body, body == b"234"


async def get_tail(world: World) -> tuple[Any, bool]:
    result = await world.store.get_tail("dir/a", 4)
    return result, result == (b"6789", 10)


async def get_missing(world: World) -> tuple[Any, bool]:
    try:
        return await world.store.get_tail("not/there", 4), False
    except NotFound as missing:
        return missing, True


async def listed(world: World) -> tuple[Any, bool]:
    rows = [(row.key, row.size) async for row in world.store.list("dir/", "dir/a")]
    return rows, rows == [("dir/b", 1), ("dir/c", 0), ("dir/deeper/d", 1)]


async def folders(world: World) -> tuple[Any, bool]:
    names = [name async for name in world.store.list_folders("")]
    return names, sorted(names) == ["dir", "e", "äö"]


async def delete(world: World) -> tuple[Any, bool]:
    keys = [world.key(), world.key()]
    world.aws.objects.update((f"root/{key}", b"x") for key in keys)
    await world.store.delete([*keys, "not/there"])
    return None, not any(f"root/{key}" in world.aws.objects for key in keys)


async def active(world: World) -> tuple[Any, bool]:
    there = await world.table.active(create=False)
    return there, there is True


async def rows(world: World) -> tuple[Any, bool]:
    world.aws.rows.clear()
    wanted = {f"shard-{n}": Lease(f"shard-{n}", "me", n, Checkpoint("5")) for n in range(5)}
    world.aws.rows.update((key, write_row(lease)) for key, lease in wanted.items())
    found = {lease.key: lease for lease in await world.table.rows()}
    return found, found == wanted


async def create(world: World) -> tuple[Any, bool]:
    lease = Lease(world.key(), None, 0, Checkpoint("TRIM_HORIZON"), token="mine")
    created = await world.table.create(lease)
    return created, created and read_row(world.aws.rows[lease.key]) == lease


async def renew(world: World) -> tuple[Any, bool]:
    world.aws.rows[LEASE.key] = write_row(LEASE)
    held = await world.table.renew(LEASE)
    return held, held is not None and held == read_row(world.aws.rows[LEASE.key]) and held.counter == 8


async def renew_lost(world: World) -> tuple[Any, bool]:
    """Another owner's lease: GetItem shows it."""
    world.aws.rows[LEASE.key] = write_row(Lease("shard", "they", 9, Checkpoint("6"), token="u"))
    held = await world.table.renew(LEASE)
    return held, held is None


async def checkpoint(world: World) -> tuple[Any, bool]:
    world.aws.rows[LEASE.key] = write_row(LEASE)
    held = await world.table.checkpoint(LEASE, Checkpoint("6"), children=("c",))
    return held, held is not None and held.checkpoint == Checkpoint("6")


async def remove(world: World) -> tuple[Any, bool]:
    """The answer to a repeated call is False: the row is gone already."""
    world.aws.rows[LEASE.key] = write_row(LEASE)
    removed = await world.table.remove(LEASE)
    return removed, LEASE.key not in world.aws.rows


async def described(world: World) -> tuple[Any, bool]:
    info = await world.stream.describe()
    return info, (info.name, info.created_ms) == ("s", 1_700_000_000_000)


async def shards(world: World) -> tuple[Any, bool]:
    found = await world.stream.list_shards()
    return found, [shard.id for shard in found] == [SHARD]


async def iterator(world: World) -> tuple[Any, bool]:
    result = await world.stream.iterator(SHARD, Position(Start.TRIM_HORIZON))
    return result, result == "first"


async def read(world: World) -> tuple[Any, bool]:
    page = await world.stream.read(SHARD, "first")
    came = [(record.sequence, bytes(record.data)) for record in page.records]
    return came, came == world.aws.records and page.iterator == "next"


CASES = [
    Case("put", "PutObject", put(SMALL)),
    Case("put_large", "PutObject", put(LARGE)),
    Case("put_again", "PutObject", put_again, alone=False),
    Case("get", "GetObject", get),
    Case("get_unsummed", "GetObject", get_unsummed, alone=False),
    Case("get_range", "GetObject", get_range, alone=False),
    Case("get_tail", "GetObject", get_tail, alone=False),
    Case("get_missing", "GetObject", get_missing, alone=False),
    Case("list", "ListObjectsV2", listed),
    Case("folders", "ListObjectsV2", folders, alone=False),
    Case("delete", "DeleteObjects", delete),
    Case("active", "DescribeTable", active),
    Case("rows", "Scan", rows),
    Case("create", "UpdateItem", create),
    Case("renew", "UpdateItem", renew, alone=False),
    Case("checkpoint", "UpdateItem", checkpoint, alone=False),
    Case("renew_lost", "GetItem", renew_lost),
    Case("remove", "DeleteItem", remove),
    Case("describe", "DescribeStreamSummary", described),
    Case("shards", "ListShards", shards),
    Case("iterator", "GetShardIterator", iterator),
    Case("read", "GetRecords", read),
]


@asynccontextmanager
async def opened(
    listening: AbstractAsyncContextManager[FaultProxy] | None = None, url: str = ""
) -> AsyncIterator[World]:
    """Clients of a fault proxy. `url` is the endpoint that they use, if not the proxy itself."""
    aws = TinyAws()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(listening or FaultProxy(aws, hang_s=3 * WAIT_S))
        proxy._origins[""] = aws
        patience: dict[str, Any] = {"connect_timeout_s": PATIENCE_S / 2, "read_timeout_s": PATIENCE_S / 2}
        region: dict[str, Any] = {"region": "us-east-1", "endpoint_url": url or proxy.url}
        store = await stack.enter_async_context(open_s3_store("s3://bucket/root", **region, **patience))
        table = await stack.enter_async_context(open_dynamo_table("leases", **region, **patience))
        stream = await stack.enter_async_context(open_kinesis_stream("s", **region, **patience))
        yield World(aws, proxy, store, table, stream, itertools.count())


def as_new(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(s3, "_PAUSES_S", ())
    monkeypatch.setattr(exchange, "_CONTINUE_S", WAIT_S / 8)
    world.patience(PATIENCE_S)
    world.aws.rows.clear()
    world.aws.objects.clear()
    world.aws.objects.update((f"root/{key}", body) for key, body in THERE.items())
    world.proxy.struck.clear()
    world.proxy.choose, world.proxy._origins[""] = no_fault, world.aws
    return world


async def outcome(world: World, case: Case) -> tuple[str, str]:
    """`right`, `wrong`, `refused` or `raised`, and the result."""
    try:
        result, so = await asyncio.wait_for(case.ask(world), 10)
    except PortError as problem:
        if isinstance(problem, Unavailable) and problem.cause not in CAUSES:
            return "wrong", f"a cause that no metric has: {problem.cause}"
        return "refused", f"{type(problem).__name__} {getattr(problem, 'cause', '')}: {problem}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return "raised", f"{type(error).__name__}: {error}"
    return ("right" if so else "wrong"), repr(result)


async def suffer(world: World, case: Case, faults: set[str]) -> None:
    """Inject each fault once; raise all failures together."""
    found = []
    for fault in FAULTS.values():
        if case.call not in fault.calls or fault.name not in faults:
            continue
        world.patience(WAIT_S if fault.name in SLOW and not fault.legal else PATIENCE_S)
        world.proxy.choose = only(fault.name, case.call, times=2)
        verdict, result = await outcome(world, case)
        if not world.proxy.struck[case.call, fault.name]:
            found.append(f"{fault.name}: never came")
        harmless = fault.legal and not fault.name.startswith("date_") and fault.name != CLOSED
        if verdict in ("wrong", "raised") or (harmless and verdict != "right"):
            found.append(f"{fault.name}: {verdict}: {result}")
        world.patience(PATIENCE_S)
        world.proxy.choose = no_fault
        after = [await outcome(world, case) for _ in range(2)]  # the first may use a connection that has just ended
        if after[1][0] != "right":
            found.append(f"after {fault.name}: {after}")
    assert not found, "\n".join(found)

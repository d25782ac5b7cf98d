"""`vortex check`: every connection and permission that the service will need, and what keeps two writers apart."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import click

from vortex.adapters.dynamodb import DynamoTable
from vortex.config import Settings
from vortex.core.model import Position, Start
from vortex.exits import Exit
from vortex.ports import NotFound, ObjectStore, PortError, Stream
from vortex.wiring import open_lease_table, open_store, open_stream, table_name

_PROBE = "_vortex/_check"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the answer."""

    what: str
    ok: bool
    detail: str


class CheckFailed(Exception):
    """The service answered, but not as it must; the message says what follows."""


def check(settings: Settings, as_json: bool) -> int:
    """Print a line for each check; FAILED if any failed."""
    lines = asyncio.run(_check(settings))
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        for line in lines:
            click.echo(f"{'ok  ' if line.ok else 'FAIL'} {line.what}: {line.detail}")
    return Exit.OK if all(line.ok for line in lines) else Exit.FAILED


async def _check(settings: Settings) -> list[Line]:
    lines = [Line("settings", True, "read")]
    try:
        async with open_stream(settings) as stream:
            lines += [await _line(what, call) for what, call in _of_stream(stream)]
    except PortError as problem:
        lines.append(Line("stream", False, str(problem)))
    async with open_store(settings) as store:
        lines.append(await _line(f"store {store.url}", lambda: probe(store)))
    if settings.coordination.mode == "dynamodb":
        async with open_lease_table(settings) as table:
            lines.append(await _line(f"lease table {table_name(settings)}", lambda: _of_table(table)))
    return lines


async def _line(what: str, call: Callable[[], Awaitable[str]]) -> Line:
    try:
        return Line(what, True, await call())
    except (PortError, CheckFailed) as problem:
        return Line(what, False, str(problem))


def _of_stream(stream: Stream) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
    async def describe() -> str:
        info = await stream.describe()
        return f"{info.name}, records are kept {info.retention_ms // 3_600_000} h"

    async def shards() -> str:
        return f"{len(await stream.list_shards())} shards listed"

    async def read() -> str:
        shard = (await stream.list_shards())[0].id
        iterator = await stream.iterator(shard, Position(Start.TRIM_HORIZON))
        if iterator is not None:
            await stream.read(shard, iterator)
        return f"a page of {shard} was read"

    return [
        ("kinesis:DescribeStreamSummary", describe),
        ("kinesis:ListShards", shards),
        ("kinesis:GetShardIterator, GetRecords", read),
    ]


async def _of_table(table: DynamoTable) -> str:
    """Prove that the table can be read, and that it keeps two writers apart; nothing is left in it."""
    try:
        active = await table.active(create=False)
    except NotFound:
        return "is not there yet; `vortex run` makes it, which needs dynamodb:CreateTable"
    if not active:
        raise CheckFailed("is being created or deleted; check again in a minute")
    await table.probe()
    return f"{len(await table.rows())} leases read, conditional writes work"


async def probe(store: ObjectStore) -> str:
    """Prove put-if-absent, get, list and delete on a key of our own. Raises CheckFailed, PortError."""
    key = f"{_PROBE}/{secrets.token_hex(8)}"
    try:
        if not await store.put_if_absent(key, b"first"):
            raise CheckFailed(f"{key}: said to exist before it was written")
        if await store.put_if_absent(key, b"second") or await store.get(key) != b"first":
            raise CheckFailed(
                "the store does not honour put-if-absent (If-None-Match: *): nothing could keep two writers apart. "
                "Vortex cannot run on it"
            )
        if [info.key async for info in store.list(key)] != [key]:
            raise CheckFailed(f"{key}: written, but not listed")
    finally:
        await store.delete([key])
    return "put-if-absent, get, list and delete work"

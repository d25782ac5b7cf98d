"""`vortex check`: tests every connection and permission that a worker needs, and put-if-absent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from vortex.adapters.aws.client import Session
from vortex.adapters.dynamodb.table import DynamoTable
from vortex.adapters.usable_memory import usable_bytes
from vortex.commands.existing_state import foreign, refused_leases, streams_at
from vortex.commands.printing import print_line
from vortex.commands.probes import CheckFailed, Line, StoreProbe, leaving_no_folders, tried
from vortex.commands.sampling import SAMPLE, lines_of, reading_of
from vortex.config import places
from vortex.config.settings import Settings
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.lookup.sample import Sample, exhaust
from vortex.lookup.stream_sample import recent_records
from vortex.ports import NotFound, ObjectStore, PortError, Stream
from vortex.runtime.environment import too_little_memory
from vortex.runtime.factories import aws_session, open_lease_table, open_store, open_stream, stream_name, table_name


def check(settings: Settings, as_json: bool) -> int:
    """Print a line for each check, as it comes; FAILED if any failed."""
    lines = asyncio.run(_check(settings, aloud=not as_json))
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=1))
    return Exit.OK if all(line.ok for line in lines) else Exit.FAILED


async def _check(settings: Settings, *, aloud: bool) -> list[Line]:
    lines = []
    async for line in _lines(settings):
        lines.append(line)
        if aloud:
            print_line(f"{'ok  ' if line.ok else 'FAIL'} {line.what}: {line.detail}")
    return lines


async def _lines(settings: Settings) -> AsyncIterator[Line]:
    """Raises ConfigError before the first line, if a setting is wrong."""
    session = aws_session(settings)
    async with contextlib.AsyncExitStack() as stack:
        stream = await stack.enter_async_context(open_stream(settings, session))
        store = await stack.enter_async_context(open_store(settings, session))
        table = None
        if settings.coordination.mode == "dynamodb":
            table = await stack.enter_async_context(open_lease_table(settings, session))
        yield Line("settings", True, "valid")
        if short := too_little_memory(settings, usable_bytes()):
            yield Line("memory", True, short)
        yield (found := await tried("AWS credentials", lambda: _of_session(session)))
        if found.ok:
            async for line in lines_of_stream(stream, settings):
                yield line
        if found.ok or store.url.startswith("file:"):
            endpoint = _endpoint("store", settings)
            yield await tried(f"store {store.url}", lambda: _state(store, settings), endpoint=endpoint)
            async for line in _of_store(store, settings):
                yield line
        if not found.ok:
            yield Line("AWS", False, "the other checks were skipped, as there are no credentials")
        elif table is not None:
            what, endpoint = f"lease table {table_name(settings)}", _endpoint("coordination", settings)
            yield await tried(what, lambda: _of_table(table, settings, stream, store), endpoint=endpoint)


def _endpoint(section: Literal["source", "store", "coordination"], settings: Settings) -> str:
    """The setting that names the service's address; empty where it is not set, so that the address is AWS's own."""
    return f"{section}.endpoint_url" if getattr(settings, section).endpoint_url else ""


async def _of_session(session: Session) -> str:
    """What the credentials come from, and until when they are good."""
    await session.credentials.get_frozen_credentials()
    return f"from {session.credentials.description()}"


async def _state(store: ObjectStore, settings: Settings) -> str:
    """Whose state lies there: of this stream, of none, or of another one."""
    names, stream = await streams_at(store), stream_name(settings)
    if message := foreign(names, stream):
        raise CheckFailed(message)
    return f"holds the state of stream {stream}" if names else "holds no state yet; `vortex run` creates it"


async def _of_store(store: ObjectStore, settings: Settings) -> AsyncIterator[Line]:
    probe, place = StoreProbe(store, _endpoint("store", settings)), places.store_place(settings.store.url)
    tidy = leaving_no_folders(place, probe.folder) if isinstance(place, Path) else contextlib.nullcontext()
    with tidy:
        async for line in probe.lines():
            yield line


async def lines_of_stream(stream: Stream, settings: Settings) -> AsyncIterator[Line]:
    """Whether the stream can be read, and what its records say about the settings."""
    sample, read = Sample(reading_of(settings)), dict[str, int]()

    async def describe() -> str:
        info = await stream.describe()
        return f"stream {info.name}, retention {info.retention_ms // 3_600_000} h"

    async def shards() -> str:
        read.update(dict.fromkeys((shard.id for shard in await stream.list_shards()), 0))
        return counted(len(read), "shard")

    async def records() -> str:
        async for shard, page in recent_records(stream, list(read), SAMPLE):
            read[shard] += len(page)
            await asyncio.to_thread(exhaust, sample.take(page))
        return f"read {counted(sample.records, 'record')} of {counted(sum(map(bool, read.values())), 'shard')}"

    endpoint = _endpoint("source", settings)
    yield await tried("kinesis:DescribeStreamSummary", describe, endpoint=endpoint)
    listed = await tried("kinesis:ListShards", shards, endpoint=endpoint)
    yield listed
    if not listed.ok:
        return
    yield (reading := await tried("kinesis:GetShardIterator, GetRecords", records, endpoint=endpoint))
    if reading.ok:
        for line in lines_of(sample, sum(map(bool, read.values())) or len(read)):
            yield line


async def _of_table(table: DynamoTable, settings: Settings, stream: Stream, store: ObjectStore) -> str:
    """Prove that the table can be read, keeps two writers apart, and serves no other store; nothing is left in it."""
    try:
        active = await table.active(create=False)
    except NotFound:
        return "does not exist yet; `vortex run` creates it, which needs dynamodb:CreateTable"
    if not active:
        raise CheckFailed("is being created or deleted; check again in a minute")
    await table.probe()
    rows = await table.rows()
    with contextlib.suppress(PortError):  # of stream or store: their own lines say it
        if rows and (refusal := await refused_leases(rows, settings, stream, store)):
            raise CheckFailed(refusal)
    return f"{counted(len(rows), 'lease')}; conditional writes work"

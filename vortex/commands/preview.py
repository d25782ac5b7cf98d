"""`vortex preview`: shows what becomes of some events of the stream or of a file. Writes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import click

from vortex.commands.event_files import FileError, records_in
from vortex.commands.printing import print_line
from vortex.commands.sampling import field_line, reading_of
from vortex.config.settings import Settings
from vortex.core.model import Record
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.lookup.sample import Fate, Sample
from vortex.lookup.stream_sample import recent_records
from vortex.runtime.factories import open_stream

_EXCERPT = 60
_Pages = AsyncGenerator[tuple[str, Sequence[Record]], None]


def preview(settings: Settings, number: int, shard: str | None, file: Path | None, as_json: bool) -> int:
    """Print what becomes of `number` events; FAILED if all are rejected. Raises PortError, FileError."""
    return asyncio.run(_preview(settings, number, shard, file, as_json))


async def _preview(settings: Settings, number: int, shard: str | None, file: Path | None, as_json: bool) -> int:
    sample, shown = Sample(reading_of(settings)), 0
    pages = _of_file(file) if file else _of_stream(settings, number, shard)
    async with contextlib.aclosing(pages):  # the loop may leave early, and then the stream must be closed
        async for where, records in pages:
            for fate in sample.take(records):
                if shown < number:
                    shown += 1
                    _print(shown, where, records[fate.record].sequence, fate, as_json)
            if shown >= number:
                break
    if as_json:
        return Exit.FAILED if sample.events and not sample.accepted else Exit.OK
    if not sample.events:
        print_line("no events found")
        return Exit.OK
    rejected = sample.reasons.total()
    text = f"{counted(sample.events, 'event')} decoded: {sample.accepted:,} accepted, {rejected:,} rejected"
    print_line(f"{text}, {sample.again:,} repeat an id, {sample.untimed:,} have no readable time")
    for name in sample.fields.shares if sample.fields.events else ():
        if not (line := field_line(sample, name)).ok:
            print_line(f"{line.what}: {line.detail}")
    return Exit.OK if sample.accepted else Exit.FAILED


async def _of_stream(settings: Settings, number: int, shard: str | None) -> _Pages:
    async with open_stream(settings) as stream:
        known = [one.id for one in await stream.list_shards()]
        if shard is not None and shard not in known:
            raise FileError(f"--shard {shard}: no such shard; the stream has {', '.join(known[:5])}")
        async for page in recent_records(stream, [shard] if shard else known, number, min(10_000, max(100, number))):
            yield page


async def _of_file(file: Path) -> _Pages:
    arrival = time.time()
    for number, data in enumerate(records_in(file), 1):
        yield str(file), [Record(str(number), arrival, data)]


def _print(number: int, where: str, sequence: str, fate: Fate, as_json: bool) -> None:
    excerpt = fate.data[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    if as_json:
        row = {"from": where, "record": sequence, "key": fate.key or None, "reason": fate.reason, "detail": fate.detail}
        flags = {"repeats_id": fate.again, "readable_time": fate.timed}
        click.echo(json.dumps(row | flags | {"event": excerpt}))
        return
    outcome = fate.key if fate.reason is None else f"REJECTED {fate.reason}: {fate.detail}"
    notes = [note for note, holds in (("repeats an id", fate.again), ("no readable time", not fate.timed)) if holds]
    short = excerpt if len(excerpt) <= _EXCERPT else f"{excerpt[: _EXCERPT - 1]}…"
    print_line(f"{number:>3} {short}")
    text = f" ({'; '.join(notes)})" if notes else ""
    print_line(f"    -> {outcome}{text}")

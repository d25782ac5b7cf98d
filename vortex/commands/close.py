"""`vortex close`: advance the bound of lagging shards, so that hours close without them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click

from vortex.commands.existing_state import existing_state
from vortex.commands.instants import instant
from vortex.commands.printing import print_line
from vortex.commands.status import live_logs
from vortex.config.quoting import shortened
from vortex.config.settings import Settings
from vortex.core.layout import moment
from vortex.core.log.rules import BrokenLog, Damaged, StreamState, advanced, child_state, first_footer
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Footer
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.periods import floor_period
from vortex.core.publish.plan import LogView
from vortex.exits import Exit
from vortex.ingest.resume import parent_ends
from vortex.log.store import LogStore
from vortex.ports import Stream
from vortex.runtime.factories import open_store, open_stream

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Moved:
    """One shard: where its bound was, and is."""

    shard: str
    was: str
    now: str


def close(settings: Settings, shards: tuple[str, ...], before: str, as_json: bool) -> int:
    """Close the periods before `before` (ISO time) for these shards, or for all that hold them open.

    Raises PortError, NoState, FileError.
    """
    upto = instant("--before", before)
    try:
        moved = asyncio.run(_close(settings, shards, upto))
    except Damaged as problem:
        click.echo(str(problem), err=True)
        return Exit.LOST_STATE
    except (ValueError, BrokenLog) as problem:
        print_line(str(problem), err=True)
        return Exit.USAGE
    if as_json:
        click.echo(json.dumps([asdict(one) for one in moved], indent=1))
    for one in moved if not as_json else ():
        print_line(f"{one.shard}: {one.was} -> {one.now}")
    if not moved and not as_json:
        click.echo("nothing to close: no shard keeps a period before that time open")
    return Exit.OK


async def _close(settings: Settings, shards: Sequence[str], before: int) -> list[Moved]:
    async with open_stream(settings) as stream, open_store(settings) as store:
        info = await stream.describe()
        log_store, state = await existing_state(store, info, stream)
        return await close_logs(log_store, state, stream, settings, shards, before)


async def close_logs(
    log_store: LogStore, state: StreamState, stream: Stream, settings: Settings, shards: Sequence[str], before: int
) -> list[Moved]:
    """Append the segments that move the bounds. Raises ValueError for an unknown shard or a time that is not over."""
    period = settings.publish.period
    before = floor_period(before, period)
    now = min(await stream.server_time(), time.time_ns() // 1_000_000)  # one clock may be wrong
    if before > floor_period(now, period) + period:
        raise ValueError(f"--before {_iso(before)} is in the future; only past periods can be closed")
    plan = await log_store.last_plan(state)
    views = await live_logs(log_store, plan)
    if unknown := sorted(set(shards) - set(views)):
        known = shortened(", ".join(sorted(views)), 2000)
        raise ValueError(f"unknown shard {shortened(', '.join(unknown))}; open shards are {known}")
    moved = []
    for shard in sorted(shards or views):
        for _ in range(_TRIES):
            was = await _bound(log_store, state, stream, shard, views[shard])
            if was is None or was >= before:
                break
            head = await log_store.newest(shard, plan.shards.get(shard))
            if head is None:
                raise BrokenLog(f"shard {shard}: the first segment of its log has gone; restore it")
            footer = advanced(head, before, owner=_owner(), created=time.time_ns() // 1_000_000)
            if await log_store.commit(shard, seal(footer)):
                moved.append(Moved(shard, _iso(was), _iso(before)))
                break
            views = await live_logs(log_store, plan)  # its owner committed first: look again
        else:
            raise BrokenLog(f"shard {shard}: its worker committed first, {_TRIES} times in a row; try again")
    return moved


async def _bound(log_store: LogStore, state: StreamState, stream: Stream, shard: str, view: LogView) -> int | None:
    """The log's bound; None for an ended one. A log without segments gets its first here."""
    if view.newest is None:
        footer = await _first(log_store, state, stream, shard)
        await log_store.commit(shard, seal(footer))
        return footer.closed_before
    return None if view.newest.ended else view.newest.closed_before


async def _first(log_store: LogStore, state: StreamState, stream: Stream, shard: str) -> Footer:
    """Segment 0 of a log that has not existing_state: a root's, or a child's under the child's rule."""
    now = time.time_ns() // 1_000_000
    for root in state.roots:
        if root.shard.id == shard:
            # What is read of it later counts as of then at least, or it would hold the keys of all time.
            return first_footer(
                root.shard, root.position, state.closed_before, state.closed_before, owner=_owner(), created=now
            )
    listed = await stream.list_shards()
    info = next((s for s in listed if s.id == shard), None) or ShardInfo(shard)
    parents = await parent_ends(log_store, state, info, listed)
    watermark, closed_before = child_state(parents)
    return first_footer(info, Position(Start.TRIM_HORIZON), watermark, closed_before, owner=_owner(), created=now)


def _owner() -> str:
    return f"close:{socket.gethostname()}"


def _iso(ms: int) -> str:
    return moment(ms).isoformat(timespec="seconds").replace("+00:00", "Z")

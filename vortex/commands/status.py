"""`vortex status`: where each shard stands, who holds the frontier, what was published last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rich.table import Table

from vortex.config import Settings
from vortex.core.layout import hour_of, moment
from vortex.core.model import HOUR_MS
from vortex.core.publication import LogView, Plan, carried, frontier, joined
from vortex.core.shardlog import BrokenLog, StreamState, stream_root
from vortex.exits import Exit
from vortex.journal import Journal
from vortex.ports import PortError, Stream
from vortex.retry import Once
from vortex.wiring import open_store, open_stream


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard; times are ISO, UTC. `lag_s` is the service's clock less the watermark."""

    shard: str
    state: str
    position: str
    lag_s: float | None
    watermark: str
    open_from: str
    segments_unpublished: int


@dataclass(frozen=True, slots=True)
class Status:
    """The whole answer."""

    stream: str
    shards: list[ShardRow]
    frontier: str
    holder: str
    last_plan: int
    last_plan_state: str
    published_upto: str
    last_closed_hour: str


def status(settings: Settings, as_json: bool) -> int:
    """Print it; UNREACHABLE where stream or store do not answer, LOST_STATE where a log is broken."""
    try:
        found = asyncio.run(_status(settings))
    except PortError as problem:
        click.echo(str(problem), err=True)
        return Exit.UNREACHABLE
    except BrokenLog as problem:
        click.echo(str(problem), err=True)
        return Exit.LOST_STATE
    if found is None:
        click.echo("the stream was never started on this store; `vortex run` begins it", err=True)
        return Exit.FAILED
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        _print(found)
    return Exit.OK


async def _status(settings: Settings) -> Status | None:
    async with open_stream(settings) as stream, open_store(settings) as store:
        info = await stream.describe()
        journal = Journal(store, stream_root(info.name, info.created_ms), Once())
        state = await journal.state()
        return None if state is None else await gather(journal, state, stream, settings.publish.target_object_size)


async def live_logs(journal: Journal, plan: Plan) -> dict[str, LogView]:
    """Every live log from the last plan on, children included."""
    live, gone = carried(plan)
    views: dict[str, LogView] = {}
    while new := [s for s in joined(live, gone, views) if s not in views]:
        shards = joined(live, gone, views)
        read = await asyncio.gather(*(journal.view(shard, shards[shard]) for shard in new))
        views.update(zip(new, read, strict=True))
    return views


async def gather(journal: Journal, state: StreamState, stream: Stream, target: int) -> Status:
    """The status of a stream that has begun."""
    plan = await journal.last_plan(state, target)
    done = plan.k < 0 or await journal.done(plan.k) is not None
    views = await live_logs(journal, plan)
    live, gone = carried(plan)
    held = frontier(joined(live, gone, views), views)
    now = await stream.server_time()
    closed = plan.upto if done else plan.after
    has_closed = plan.k >= 0 and hour_of(closed) > state.opens_from
    return Status(
        stream=state.stream,
        shards=[_row(shard, view, plan.upto, now) for shard, view in sorted(views.items())],
        frontier=_iso(held[0]) if held else "",
        holder=held[1] if held else "",
        last_plan=plan.k,
        last_plan_state="none yet" if plan.k < 0 else "done" if done else "in progress",
        published_upto=_iso(closed),
        last_closed_hour=_iso(hour_of(closed) - HOUR_MS) if has_closed else "",
    )


def _row(shard: str, view: LogView, upto: int, now: int) -> ShardRow:
    footer = view.last
    if footer is None:
        return ShardRow(shard, "not begun", "", None, "", "", 0)
    waiting = sum(1 for head in view.heads if head.footer and any(p >= upto for p in head.footer.periods))
    return ShardRow(
        shard=shard,
        state="ended" if footer.ended else "open",
        position=f"{footer.position.kind} {footer.position.value}".strip(),
        lag_s=None if footer.ended else max(0, now - footer.watermark) / 1000,
        watermark=_iso(footer.watermark),
        open_from=_iso(footer.open_from),
        segments_unpublished=waiting,
    )


def _iso(ms: int) -> str:
    return moment(ms).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(found: Status) -> None:
    console = Console()
    table = Table(title=f"stream {found.stream}")
    names: Sequence[str] = ShardRow.__slots__
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in found.shards:
        table.add_row(*("" if getattr(row, name) is None else str(getattr(row, name)) for name in names))
    console.print(table)
    console.print(f"frontier: {found.frontier} held by {found.holder}" if found.holder else "frontier: no open log")
    console.print(f"published up to {found.published_upto}; last plan: {found.last_plan} ({found.last_plan_state})")
    console.print(f"last closed hour: {found.last_closed_hour or 'none yet'}")

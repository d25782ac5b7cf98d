"""`vortex status`: where each shard stands and who reads it, who holds the frontier, what was published last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vortex.commands.standing import begun
from vortex.config.settings import Settings
from vortex.core.fleet.lease import Lease, of_earlier_stream
from vortex.core.layout import hour_of, moment
from vortex.core.log.rules import StreamState
from vortex.core.model import HOUR_MS
from vortex.core.publish.plan import LogView, Plan, frontier, live_and_retired, with_children
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.ports import NotFound, Stream
from vortex.runtime.factories import open_lease_table, open_store, open_stream

_SLACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard; times are ISO, UTC. `lag_s` is the service's clock less the watermark, `owner` empty where none is."""

    shard: str
    state: str
    owner: str
    position: str
    lag_s: float | None
    watermark: str
    closed_before: str
    segments_unpublished: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker, as the lease table names it; `throughput_kbps` is the sum of what it tells of its shards."""

    worker: str
    shards: int
    throughput_kbps: float


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One range of the plan in progress."""

    range: int
    taker: str
    done: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The whole answer. `late` says in words what should have happened by now, `untimed` where times are unreadable."""

    stream: str
    coordination: str
    workers: list[WorkerRow]
    shards: list[ShardRow]
    ranges: list[RangeRow]
    late: list[str]
    untimed: list[str]
    frontier: str
    holder: str
    last_plan: int
    last_plan_state: str
    published_upto: str
    last_closed_hour: str
    window_s: float
    """Of deduplication, as the last plan says it."""
    window_covered_s: float
    """For how long back the plans reach that it was held against; after a window was enlarged it fills."""
    held_against: str
    """Which plans those are."""


def status(settings: Settings, as_json: bool) -> int:
    """Print it. Raises PortError where stream or store do not answer, BrokenLog, and NoState."""
    found = asyncio.run(_status(settings))
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        _print(found)
    return Exit.OK


async def _status(settings: Settings) -> Status:
    async with open_stream(settings) as stream, open_store(settings) as store:
        info = await stream.describe()
        log_store, state = await begun(store, info)
        return await gather(log_store, state, stream, settings, await _leases(settings, info.created_ms))


async def _leases(settings: Settings, stream: int) -> dict[str, Lease] | None:
    """The rows of the lease table by shard; None without a fleet."""
    if settings.coordination.mode == "local":
        return None
    async with open_lease_table(settings) as table:
        try:
            await table.active(create=False)
        except NotFound:
            return {}
        return {row.key: row for row in await table.rows() if not of_earlier_stream(row, stream)}


async def live_logs(log_store: LogStore, plan: Plan) -> dict[str, LogView]:
    """Every live log from the last plan on, children included."""
    live, retired = live_and_retired(plan)
    views: dict[str, LogView] = {}
    while new := [s for s in with_children(live, retired, views) if s not in views]:
        shards = with_children(live, retired, views)
        read = await asyncio.gather(*(log_store.view(shard, shards[shard]) for shard in new))
        views.update(zip(new, read, strict=True))
    return views


async def gather(
    log_store: LogStore, state: StreamState, stream: Stream, settings: Settings, leases: dict[str, Lease] | None
) -> Status:
    """The status of a stream that has begun."""
    plan = await log_store.last_plan(state)
    done = plan.k < 0 or await log_store.is_done(plan.k)
    views = await live_logs(log_store, plan)
    live, retired = live_and_retired(plan)
    held = frontier(with_children(live, retired, views), views)
    now = await stream.server_time()
    closed = plan.upto if done else plan.after
    has_closed = plan.k >= 0 and hour_of(closed) > state.closed_before
    shards = [_row(shard, view, plan.upto, now, leases) for shard, view in sorted(views.items())]
    ranges = [] if done else await _ranges(log_store, plan)
    return Status(
        stream=state.stream,
        coordination=settings.coordination.mode,
        workers=_workers(leases or {}),
        shards=shards,
        ranges=ranges,
        late=[*_late_shards(shards, views, settings, now, leases is not None), *_late_ranges(plan, ranges)],
        untimed=untimed(views),
        frontier=_iso(held[0]) if held else "",
        holder=held[1] if held else "",
        last_plan=plan.k,
        last_plan_state="none yet" if plan.k < 0 else "done" if done else "in progress",
        published_upto=_iso(closed),
        last_closed_hour=_iso(hour_of(closed) - HOUR_MS) if has_closed else "",
        window_s=plan.window / 1000,
        window_covered_s=(plan.arrived[1] - plan.recent[0].upto) / 1000 if plan.recent else 0.0,
        held_against=f"{plan.since}..{plan.k - 1}" if plan.recent else "",
    )


def _workers(leases: dict[str, Lease]) -> list[WorkerRow]:
    owned: dict[str, list[Lease]] = {}
    for lease in leases.values():
        if lease.owner is not None:
            owned.setdefault(lease.owner, []).append(lease)
    return [
        WorkerRow(worker, len(several), round(sum(one.throughput or 0.0 for one in several), 1))
        for worker, several in sorted(owned.items())
    ]


async def _ranges(log_store: LogStore, plan: Plan) -> list[RangeRow]:
    takers = plan.takers or ("",) * plan.ranges
    done = await asyncio.gather(*(log_store.has_range_done(plan.k, number) for number in range(plan.ranges)))
    return [RangeRow(number, taker, well) for number, (taker, well) in enumerate(zip(takers, done, strict=True))]


def _late_shards(
    shards: list[ShardRow], views: Mapping[str, LogView], settings: Settings, now: int, fleet: bool
) -> list[str]:
    """Shards that nobody reads, and those whose bound is more than a period and a minute behind what it might be."""
    period, found = settings.publish.period, []
    due = now - settings.hours.allowed_lateness - period - _SLACK_MS
    for row in shards:
        footer = views[row.shard].newest
        if fleet and not row.owner and (footer is None or not footer.ended):
            found.append(f"{row.shard}: no worker has it")
        if footer is not None and not footer.ended and footer.closed_before < due - due % period:
            found.append(f"{row.shard}: keeps every period from {_iso(footer.closed_before)} on open")
    return found


def _late_ranges(plan: Plan, ranges: list[RangeRow]) -> list[str]:
    missing = [row for row in ranges if not row.done]
    return [f"plan {plan.k}: range {row.range} of {row.taker} is not done" for row in missing if row.taker]


def untimed(views: Mapping[str, LogView]) -> list[str]:
    """Shards with events whose time could not be read, among those that no plan has covered yet."""
    found = []
    for shard, view in sorted(views.items()):
        counts = [head.footer.counts for head in view.headers]
        if number := sum(one.untimed for one in counts):
            events = sum(one.accepted for one in counts)
            found.append(f"{shard}: {number} of {events} recent events have no readable time; they count by arrival")
    return found


def _row(shard: str, view: LogView, upto: int, now: int, leases: dict[str, Lease] | None) -> ShardRow:
    lease = (leases or {}).get(shard)
    owner = (lease.owner if lease is not None else None) or ""
    footer = view.newest
    if footer is None:
        return ShardRow(shard, "not started", owner, "", None, "", "", 0)
    waiting = sum(1 for head in view.headers if any(p >= upto for p in head.footer.periods))
    return ShardRow(
        shard=shard,
        state="ended" if footer.ended else "open",
        owner=owner,
        position=f"{footer.position.kind} {footer.position.value}".strip(),
        lag_s=None if footer.ended else max(0, now - footer.watermark) / 1000,
        watermark=_iso(footer.watermark),
        closed_before=_iso(footer.closed_before),
        segments_unpublished=waiting,
    )


def _iso(ms: int) -> str:
    return moment(ms).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(found: Status) -> None:
    console = Console()
    if found.coordination != "local":
        _print_rows(console, f"workers of stream {found.stream}", WorkerRow.__slots__, found.workers)
    _print_rows(console, f"stream {found.stream}", ShardRow.__slots__, found.shards)
    if len(found.ranges) > 1:
        _print_rows(console, f"plan {found.last_plan}", RangeRow.__slots__, found.ranges)
    console.print(f"frontier: {found.frontier} held by {found.holder}" if found.holder else "frontier: no open shard")
    console.print(f"published up to {found.published_upto}; last plan: {found.last_plan} ({found.last_plan_state})")
    console.print(f"last closed hour: {found.last_closed_hour or 'none yet'}")
    if found.last_plan >= 0:
        held = (
            f"plans {found.held_against}, {found.window_covered_s:.0f} s" if found.held_against else "no earlier plan"
        )
        console.print(f"deduplication window: {found.window_s:.0f} s; the last plan was compared with {held}")
    for line in found.late:
        console.print(f"late: {line}", markup=False)
    for line in found.untimed:
        console.print(f"untimed: {line}", markup=False)


def _print_rows(console: Console, title: str, names: Sequence[str], rows: Sequence[object]) -> None:
    table = Table(title=title)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if getattr(row, name) is None else str(getattr(row, name))) for name in names))
    console.print(table)

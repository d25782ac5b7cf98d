"""`vortex status`: the position and worker of each shard, the holder of the frontier, the last plan and hour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from vortex.commands.existing_state import existing_state
from vortex.commands.status_text import Problem, Shard, View, ago, clock, console, rendered, span, written
from vortex.config.settings import Settings
from vortex.core.fleet.lease import Lease, of_earlier_stream
from vortex.core.fleet.store_mark import mark_of
from vortex.core.layout import hour_of, moment
from vortex.core.log.rules import StreamState
from vortex.core.model import HOUR_MS
from vortex.core.publish.plan import LogView, Plan, frontier, live_and_retired, with_children
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.ports import NotFound, ObjectStore, PortError, Stream
from vortex.runtime.factories import open_lease_table, open_store, open_stream, table_name

_SLACK_MS = 60_000
_WATCH_S = 5.0
_MANY = 0.01
"""The share of rejections, or of unreadable times, above which something is wrong with the settings or a producer."""


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
    untimed_share: float
    """Of the accepted events that no plan covers yet."""
    rejected: list[str]
    """Shards with many rejections among the events that no plan covers yet."""
    gaps: list[str]
    """Gaps in the segments that no plan covers yet."""
    now: str
    """The service's time."""
    foreign_leases: str = ""
    """Why this store must not use the lease table; empty if it may."""


def status(settings: Settings, as_json: bool, watch: bool = False) -> int:
    """Print it. Raises PortError where stream or store do not answer, BrokenLog, and NoState."""
    asyncio.run(_watch(settings) if watch else _once(settings, as_json))
    return Exit.OK


async def _once(settings: Settings, as_json: bool) -> None:
    async with open_stream(settings) as stream, open_store(settings) as store:
        found = await _status(settings, stream, store)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        click.echo(written(rendered(view_of(found))), nl=False)


async def _watch(settings: Settings) -> None:
    """Show it anew every few seconds, until interrupted. What does not answer is said below the last answer."""
    async with open_stream(settings) as stream, open_store(settings) as store:
        shown = rendered(view_of(await _status(settings, stream, store)))
        with Live(shown, console=console(), auto_refresh=False, screen=False) as live:
            while True:
                live.update(shown, refresh=True)
                await asyncio.sleep(_WATCH_S)
                try:
                    shown = rendered(view_of(await _status(settings, stream, store)))
                except PortError as problem:
                    live.update(Group(shown, Text(f"no answer: {problem}", style="red")), refresh=True)


async def _status(settings: Settings, stream: Stream, store: ObjectStore) -> Status:
    info = await stream.describe()
    log_store, state = await existing_state(store, info, stream)
    leases = await _leases(settings, state.created)
    found = await gather(log_store, state, stream, settings, leases)
    mark = mark_of(table_name(settings), store.url, state)
    return replace(found, foreign_leases=mark.refusal((leases or {}).values()))


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
    """The status of a stream that has existing_state."""
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
        untimed_share=_untimed_share(views),
        rejected=rejected(views) or (await rejected_by(log_store, plan.k) if done and not _events(views) else []),
        gaps=_gaps(views),
        now=_iso(now),
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


def _gaps(views: Mapping[str, LogView]) -> list[str]:
    heads = [head for _, view in sorted(views.items()) for head in view.headers]
    return [f"{head.shard}: {head.footer.gap}" for head in heads if head.footer.gap]


def _untimed_share(views: Mapping[str, LogView]) -> float:
    counts = [head.footer.counts for view in views.values() for head in view.headers]
    return sum(one.untimed for one in counts) / max(1, sum(one.accepted for one in counts))


def rejected(views: Mapping[str, LogView]) -> list[str]:
    """Shards with more than one rejection in a hundred events, among those that no plan has covered yet."""
    found = []
    for shard, view in sorted(views.items()):
        counts = [head.footer.counts for head in view.headers]
        number, events = sum(one.rejected for one in counts), sum(one.events for one in counts)
        if number > _MANY * events:
            found.append(f"{shard}: {number} of {events} recent events are rejected")
    return found


def _events(views: Mapping[str, LogView]) -> int:
    return sum(head.footer.counts.events for view in views.values() for head in view.headers)


async def rejected_by(log_store: LogStore, k: int) -> list[str]:
    """The same for the last plan, which says it where the logs have nothing newer: after `vortex run --drain`."""
    done = await log_store.done(k) if k >= 0 else None
    counts = list(done.periods.values()) if done else []
    number, events = sum(one.rejected for one in counts), sum(one.events for one in counts)
    return [f"plan {k}: {number} of {events} events are rejected"] if number > _MANY * events else []


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


def _ms(iso: str) -> int | None:
    return round(datetime.fromisoformat(iso).timestamp() * 1000) if iso else None


def view_of(found: Status) -> View:
    """What is printed of it."""
    now = _ms(found.now) or 0
    late = {line.partition(":")[0] for line in found.late}
    shards = [
        Shard(
            row.shard,
            row.state,
            row.owner,
            None if row.lag_s is None else now - round(row.lag_s * 1000),
            _ms(row.closed_before),
            row.segments_unpublished,
            row.shard in late,
        )
        for row in found.shards
    ]
    return View(found.stream, now, problems(found), _facts(found, now), shards, found.coordination != "local")


def problems(found: Status) -> list[Problem]:
    """What is not well, the worst first."""
    rows = {row.shard: row for row in found.shards}
    listed = (
        [Problem(f"a gap in {_sum_up(found.gaps)}", "those records are lost: raise the stream's retention")]
        if found.gaps
        else []
    )
    if found.foreign_leases:
        listed.append(Problem(found.foreign_leases, "until then no workers start"))
    nobody = [line for line in found.late if "no worker has it" in line]
    opened = [line for line in found.late if "keeps every period" in line]
    if nobody:
        listed.append(Problem(_sum_up(nobody), "start workers; if some run, ask /readyz?verbose why they gave it up"))
    if opened:
        first = min((rows[line.partition(":")[0]] for line in opened), key=lambda row: row.closed_before)
        todo = "is a worker running, and ready? /readyz?verbose and its log say what it waits for"
        listed.append(Problem(_sum_up(opened), todo, _ms(first.watermark)))
    if found.last_plan < 0 and all(row.state == "not started" for row in found.shards):
        listed.append(Problem("no worker has committed anything yet", "start `vortex run`, or look at its log"))
    if ranges := [line for line in found.late if line.startswith("plan ")]:
        listed.append(Problem(_sum_up(ranges), "the planner takes over within minutes; is that worker alive?"))
    if found.rejected:
        listed.append(Problem(_sum_up(found.rejected), "`vortex check` names the paths; the reasons are in _rejected/"))
    if found.untimed_share > _MANY:
        listed.append(Problem(_sum_up(found.untimed), "correct event.time, or set event.time_format"))
    return listed


def _sum_up(lines: Sequence[str]) -> str:
    more = len(lines) - 1
    return lines[0] + (f"; and {more} more like it" if more else "")


def _facts(found: Status, now: int) -> list[tuple[str, str]]:
    """Name and text of what is so, well or not."""
    upto, closed, frontier_ms = _ms(found.published_upto), _ms(found.last_closed_hour), _ms(found.frontier)
    rows = []
    if upto is not None and found.last_plan >= 0:
        rows.append(
            (
                "published up to",
                f"{clock(upto, now)}, {ago(now - upto)}; plan {found.last_plan} {found.last_plan_state}",
            )
        )
    rows.append(("last closed hour", "none yet" if closed is None else clock(closed, now)))
    if frontier_ms is not None:
        rows.append(("open from", f"{clock(frontier_ms, now)}, held by {found.holder}"))
    if found.last_plan >= 0:
        window, covered = (span(round(seconds * 1000)) for seconds in (found.window_s, found.window_covered_s))
        held = f"{covered}, plans {found.held_against}" if found.held_against else "no earlier plan"
        rows.append(("deduplication", f"window {window}; the last plan was compared with {held}"))
    if found.coordination != "local":
        rate = sum(row.throughput_kbps for row in found.workers)
        rows.append(("workers", f"{len(found.workers)}, {rate:,.1f} KB/s"))
    return rows

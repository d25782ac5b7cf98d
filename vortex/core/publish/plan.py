"""Plans: which periods are closed for all shards, the content of a plan, and which segments are no longer needed.

All bounds are half-open in period start times: a plan publishes the periods in [after, upto). Everything here is a
function of immutable inputs (the logs, the earlier plans), so any worker can make the same plan. The resulting objects
are computed in `vortex.core.publish.members`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from vortex.core.compression import Compression
from vortex.core.layout import hour_of
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.log.segment import Footer
from vortex.core.log.trailer import Versioned, known_version
from vortex.core.model import HOUR_MS
from vortex.core.publish.bounds import Recent, needed_from, parts_of, power_up_to, since

SMALL_MEMBER = 32 * 1024
"""If members are smaller than this on average (raw bytes), an object is recompressed as one member."""
PLAN_BYTES = 2 * 1024**3
"""Maximum compressed bytes of a plan, unless a single period has more: catching up takes several plans."""
PLAN_ROWS = 1_500_000
"""Maximum rows of a plan, likewise. While they are decided, a row takes 80 bytes where one worker decides on all, and
208 of a worker's share where several exchange ids: so at most 160 MB, for which the memory of a process has room.
"""


PLAN_VERSION = 6
"""Version 6 has `bundle`; a plan without it is of version 5, which has `hashed`, `shared` and `cuts`. A plan without
shared folders is of version 4, which has `compression`. A plan of gzip has version 3, so that older programs carry it
out."""
BUNDLE_VERSION = 6
"""An older program would put an object of each partition."""
SHARED_VERSION = 5
"""An older program would put other objects of a shared folder."""
COMPRESSION_VERSION = 4
OLDEST_PLAN = 3
"""Version 2 calls `closed_before` `opens`; version 1 does not decide on duplicates."""
_LONG_AGO = -(2**62)


class PlanShard(msgspec.Struct, kw_only=True, rename={"first": "from"}):
    """One live shard in a plan, which covers its segments first..to (to = -1: none yet).

    `next` is the first segment that a later plan still needs. `closed_before`, `arrives` and `parents` describe a child
    whose log has not started: it holds the frontier at `closed_before`; its first row arrives at `arrives` or later.
    """

    first: int = 0
    to: int = -1
    digest: str = ""
    next: int = 0
    ended: bool = False
    closed_before: int = 0
    arrives: int = 0
    parents: tuple[str, ...] = ()


class Plan(msgspec.Struct, kw_only=True):
    """`plan.json`: everything that the result depends on. The assignment of ranges and parts is advice, and so is
    `lz4`: most large members have a line left out, so objects cannot copy them, and they may be LZ4.

    `compression` is that of all its objects, and of all other objects of an hour that earlier plans began.

    The folders with the hashes `shared` are shared by segments: range i has those from `cuts[i - 1]` (shard, n) to
    before `cuts[i]`, in order. The others lie in `hashed` equal ranges of the hash space (0: in all `ranges`).

    A folder with less than `bundle` compressed bytes in a period has no object of its own there: its lines are a member
    of a bundle (see `vortex.core.publish.bundles`).

    `window` and `reach` are in milliseconds. `since` is the first plan whose keys are compared with its `rows`,
    `recent` describes the plans since..k-1, and `parts` is 0 if there is nothing to decide. No row of this plan or a
    later one arrives before the first value of `arrived`, and no row of this plan after the second.
    """

    k: int
    after: int
    upto: int
    shards: dict[str, PlanShard]
    retired: dict[str, int] = {}
    ranges: int = 1
    target: int
    small: int = SMALL_MEMBER
    takers: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    window: int = 0
    reach: int = 0
    since: int = 0
    rows: int = 0
    parts: int = 0
    resolvers: tuple[str, ...] = ()
    arrived: tuple[int, int] = (0, 0)
    recent: tuple[Recent, ...] = ()
    lz4: bool = False
    compression: Compression = Compression.GZIP
    hashed: int = 0
    shared: tuple[int, ...] = ()
    cuts: tuple[tuple[str, int], ...] = ()
    bundle: int | msgspec.UnsetType = msgspec.UNSET
    version: int = OLDEST_PLAN


@dataclass(slots=True)
class LogView:
    """The planner's view of a live shard: its checked segments from `next` of the last plan to the head."""

    headers: list[SegmentHeader] = field(default_factory=list)

    @property
    def newest(self) -> Footer | None:
        """The newest footer."""
        return self.headers[-1].footer if self.headers else None

    def between(self, first: int, to: int) -> list[SegmentHeader]:
        """Segments first..to."""
        begin = bisect_left(self.headers, first, key=lambda head: head.n)
        return self.headers[begin : bisect_right(self.headers, to, lo=begin, key=lambda head: head.n)]


def initial_plan(state: StreamState) -> Plan:
    """The plan before plan 0: nothing is published, and all roots are live. It cuts no objects, so `target` is 0."""
    return Plan(
        k=-1,
        after=state.closed_before,
        upto=state.closed_before,
        shards={root.shard.id: PlanShard(closed_before=state.closed_before, arrives=_LONG_AGO) for root in state.roots},
        target=0,
        arrived=(_LONG_AGO, _LONG_AGO),
    )


def live_and_retired(last: Plan) -> tuple[dict[str, PlanShard], dict[str, int]]:
    """The live shards after `last`, and the retired ones: ended, with nothing left to publish."""
    live, retired = {}, dict(last.retired)
    for shard, entry in last.shards.items():
        if entry.ended and entry.next == entry.to + 1:
            retired[shard] = entry.to
        else:
            live[shard] = entry
    return live, retired


def with_children(
    live: dict[str, PlanShard], retired: Mapping[str, int], views: Mapping[str, LogView]
) -> dict[str, PlanShard]:
    """`live` plus the children of ended logs. A child is added once, and holds the frontier until its log starts."""
    shards = dict(live)
    for view in views.values():
        footer = view.newest
        if footer is None or not footer.ended:
            continue
        for child in footer.children:
            if child.id in retired:
                continue
            closed_before, arrives = footer.closed_before, footer.watermark
            known = shards.get(child.id) or PlanShard(
                closed_before=closed_before, arrives=arrives, parents=child.parents
            )
            closed_before, arrives = max(known.closed_before, closed_before), min(known.arrives, arrives)
            shards[child.id] = msgspec.structs.replace(known, closed_before=closed_before, arrives=arrives)
    return shards


def frontier_limit(entry: PlanShard, view: LogView | None) -> int | None:
    """The limit that this shard sets for the frontier; None if it sets none (its log has ended)."""
    footer = view.newest if view else None
    if footer is None:
        return entry.closed_before
    return None if footer.ended else footer.closed_before


def frontier(shards: Mapping[str, PlanShard], views: Mapping[str, LogView]) -> tuple[int, str] | None:
    """The smallest limit of all live shards, and the shard that sets it; None if no log is open."""
    limits = {shard: frontier_limit(entry, views.get(shard)) for shard, entry in shards.items()}
    return min(((limit, shard) for shard, limit in limits.items() if limit is not None), default=None)


def _sizes_by_period(views: Mapping[str, LogView], after: int, upto: int) -> dict[int, tuple[int, int]]:
    """Compressed bytes and lines of each period."""
    sizes: dict[int, tuple[int, int]] = {}
    for view in views.values():
        for head in view.headers:
            for one in head.sizes:
                if after <= one.period < upto:
                    size, lines = sizes.get(one.period, (0, 0))
                    sizes[one.period] = size + one.size, lines + one.lines
    return sizes


def _capped(views: Mapping[str, LogView], after: int, upto: int, limit: int) -> int:
    """`upto`, or less if that has more than `limit` bytes or too many rows; at least one period with data."""
    total = rows = 0
    for number, (period, (size, more)) in enumerate(sorted(_sizes_by_period(views, after, upto).items())):
        total, rows = total + size, rows + more
        if number and (total > limit or rows > PLAN_ROWS):
            return period
    return upto


def planned_bytes(plan: Plan, views: Mapping[str, LogView]) -> int:
    """Compressed bytes that the plan publishes."""
    return sum(size for size, _ in _sizes_by_period(views, plan.after, plan.upto).values())


def holders(last: Plan, views: Mapping[str, LogView]) -> list[str]:
    """The shards that prevent a plan after `last`: they have closed no period after it."""
    live, retired = live_and_retired(last)
    shards = with_children(live, retired, views)
    limits = {shard: frontier_limit(entry, views.get(shard)) for shard, entry in shards.items()}
    return [shard for shard, limit in limits.items() if limit is not None and limit <= last.upto]


@dataclass(frozen=True, slots=True)
class Rules:
    """The planner's settings. Objects are cut at `target` bytes; `window` and `reach` are in milliseconds. Partitions
    with less than `bundle` compressed bytes in a period share objects (0: none). A change of `compression` begins with
    the next hour.

    There are at most as many parts of the keys as `workers`. A part has at least `part_rows` rows, and at least
    `piece_rows` of each segment on average, since each part reads all segments' keys. One worker's memory holds the
    fingerprints of `keys` keys: where the plan and the earlier ones that it is compared with have more, there are as
    many parts as hold them all, which may have less than `piece_rows` of each segment, but never less than `part_rows`.
    """

    target: int
    window: int = 0
    reach: int = 0
    part_rows: int = 1 << 18
    workers: int = 1
    compression: Compression = Compression.GZIP
    piece_rows: int = 0
    keys: int = 1 << 62
    bundle: int = 0

    def parts(self, rows: int, segments: int, known: int, before: int) -> int:
        """The parts of a plan with `rows` in `segments`; `known` are its rows and those of the earlier plans that it is
        compared with, `before` are the parts of the previous plan.
        """
        needed = min(-(-known // max(1, self.keys)), power_up_to(rows // max(1, self.part_rows)))
        return parts_of(rows, self.workers, max(self.part_rows, self.piece_rows * segments), needed, before)


def propose(last: Plan, views: Mapping[str, LogView], rules: Rules, limit: int = PLAN_BYTES) -> Plan | None:
    """The plan after `last` if the frontier has passed `last.upto`; else None.

    `views` has for every live shard its segments from `next` on, with a checked chain.
    """
    live, retired = live_and_retired(last)
    shards = with_children(live, retired, views)
    at = frontier(shards, views)
    ends = [view.newest.closed_before for view in views.values() if view.newest]
    upto = at[0] if at else max(ends, default=last.upto)
    if upto <= last.upto:
        return None
    compression, end = _compression(last, upto, rules.compression)
    upto = _capped(views, last.upto, end, limit)
    entries = {shard: _entry(entry, views.get(shard) or LogView(), upto) for shard, entry in sorted(shards.items())}
    plan = Plan(
        k=last.k + 1,
        after=last.upto,
        upto=upto,
        shards=entries,
        retired=retired,
        target=rules.target,
        compression=compression,
        bundle=rules.bundle or msgspec.UNSET,
        version=_version(compression, rules.bundle),
    )
    return _deciding(plan, last, views, rules)


def _version(compression: Compression, bundle: int) -> int:
    if bundle:
        return BUNDLE_VERSION
    return OLDEST_PLAN if compression is Compression.GZIP else COMPRESSION_VERSION


def _compression(last: Plan, upto: int, wanted: Compression) -> tuple[Compression, int]:
    """The compression of the plan after `last`, and where it ends, at `upto` at most.

    An hour has one compression, since a COPY command reads files of one. So a change begins with an hour, and the plan
    before it ends there.
    """
    if last.k < 0 or last.upto % HOUR_MS == 0 or wanted is last.compression:
        return wanted, upto
    return last.compression, min(upto, hour_of(last.upto) + HOUR_MS)


def _deciding(plan: Plan, last: Plan, views: Mapping[str, LogView], rules: Rules) -> Plan:
    """The plan with its deduplication fields filled in."""
    arrived = _arrived(plan, last, views)
    before = (*last.recent, Recent(last.k, last.arrived[1], last.parts, last.rows)) if last.k >= 0 else ()
    first = since(last.since, before, plan.k, needed_from(arrived[0], last.upto, rules.window, rules.reach))
    rows, segments = _planned_rows(plan, views)
    recent = tuple(one for one in before if one.k >= first)
    known = rows + sum(one.rows for one in recent)
    return msgspec.structs.replace(
        plan,
        window=rules.window,
        reach=rules.reach,
        since=first,
        rows=rows,
        parts=rules.parts(rows, segments, known, last.parts) if rules.window else 0,
        arrived=arrived,
        recent=recent,
    )


def _arrived(plan: Plan, last: Plan, views: Mapping[str, LogView]) -> tuple[int, int]:
    """Bounds of arrival: the earliest of this plan and later ones over all live shards, the latest of this plan."""
    least: list[int] = []
    most: list[int] = []
    for shard, entry in plan.shards.items():
        headers = views[shard].headers if shard in views else []
        footers = {head.n: head.footer for head in headers}
        if (first := footers.get(entry.first)) is not None:
            least.append(first.arrived[0])
        elif entry.to >= 0:
            least.append(footers[entry.to].watermark)
        else:
            least.append(entry.arrives)
        if entry.to >= 0:
            most.append(footers[entry.to].watermark)
    return min(least, default=last.arrived[0]), max(most, default=last.arrived[1])


def _planned_rows(plan: Plan, views: Mapping[str, LogView]) -> tuple[int, int]:
    """The rows that the plan publishes or drops, and the number of segments that have them."""
    rows = segments = 0
    for shard, entry in plan.shards.items():
        for head in views[shard].between(entry.first, entry.to) if shard in views else ():
            its = sum(one.rows for one in head.sizes if plan.after <= one.period < plan.upto)
            rows, segments = rows + its, segments + (its > 0)
    return rows, segments


def read_plan(body: bytes, name: str) -> Plan:
    """Parse a plan. Raises OtherVersion for a version that this program cannot publish, and msgspec's errors."""
    known_version(msgspec.json.decode(body, type=Versioned).version, OLDEST_PLAN, PLAN_VERSION, name)
    return msgspec.json.decode(body, type=Plan)


def _entry(entry: PlanShard, view: LogView, upto: int) -> PlanShard:
    """The shard's entry in a plan up to `upto`; `entry` is its entry in the previous plan."""
    to, digest, ended = entry.to, entry.digest, entry.ended
    for head in view.headers:
        if head.n < entry.to:
            continue
        if head.n > to:
            to, digest = head.n, head.digest
        ended = head.footer.ended
        if head.footer.closed_before >= upto:
            break
    following = to + 1
    for head in view.between(entry.next, to):
        if _reaches(head.footer, upto):
            following = head.n
            break
    return PlanShard(
        first=entry.next,
        to=to,
        digest=digest,
        next=following,
        ended=ended,
        closed_before=entry.closed_before,
        arrives=entry.arrives,
        parents=entry.parents,
    )


def _reaches(footer: Footer, upto: int) -> bool:
    """Whether the segment has a member or count of a period at or after `upto`."""
    return any(period >= upto for period in footer.periods)


def unneeded(shard: str, plan: Plan, head: int) -> int:
    """Segments of `shard` below this number are not needed any more: they are published, and not the head.

    `plan` is the last done one.
    """
    entry = plan.shards.get(shard)
    limit = min(entry.next, entry.to) if entry else plan.retired.get(shard, 0)
    return max(0, min(limit, head))

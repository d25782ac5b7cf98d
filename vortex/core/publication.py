"""Publication: which periods are closed for everybody, what a plan says, which objects and manifests follow from it.

All bounds are half-open in period start times: a plan publishes the periods in [after, upto). Everything below is a
function of immutable inputs (the logs, the plans before), so a plan can be done again by anyone, with one outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from vortex.core.layout import hour_manifest_key, hour_of, moment, object_key, partition_manifest_key
from vortex.core.model import HOUR_MS
from vortex.core.segment import Counts, Folder, Footer, within
from vortex.core.shardlog import Head, StreamState

SMALL_MEMBER = 32 * 1024
"""Where members are smaller than this on average (raw bytes), an object is compressed afresh as one member."""
SHARE_MEMBERS = 20_000
"""Members that publishing holds in mind at a time (some hundred bytes each)."""
PLAN_BYTES = 2 * 1024**3
"""Compressed bytes that one plan publishes at most, unless a single period holds more: catching up takes several."""


class PlanShard(msgspec.Struct, kw_only=True, rename={"first": "from"}):
    """One live shard in a plan: it is made of segments first..to (to = -1: none yet).

    `next` is the first segment that a later plan still needs; `opens` and `parents` describe a child whose log has not
    begun: it holds the frontier at `opens`.
    """

    first: int = 0
    to: int = -1
    digest: str = ""
    next: int = 0
    ended: bool = False
    opens: int = 0
    parents: tuple[str, ...] = ()


class Plan(msgspec.Struct, kw_only=True):
    """`plan.json`: everything that the outcome depends on, and for several `ranges` who is to take which: advice."""

    k: int
    after: int
    upto: int
    shards: dict[str, PlanShard]
    gone: dict[str, int] = {}
    ranges: int = 1
    target: int
    small: int = SMALL_MEMBER
    takers: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    version: int = 1


class PublishedObject(msgspec.Struct, kw_only=True):
    """One row of `done.json`. `bytes` is of the object, `raw` of its lines; `digest` is XXH3-128 of the object."""

    key: str
    folder: str
    period: int
    customer: str
    event_type: str
    rejected: bool
    rows: int
    bytes: int
    raw: int
    digest: str


class Done(msgspec.Struct, kw_only=True):
    """`done.json`: what the plan came to. `periods` holds the counts of each period it published."""

    k: int
    after: int
    upto: int
    objects: list[PublishedObject]
    periods: dict[int, Counts]
    totals: dict[str, int]
    version: int = 1


@dataclass(slots=True)
class LogView:
    """What the planner knows of a live shard: its verified segments from `next` of the last plan to the head."""

    heads: list[Head] = field(default_factory=list)

    @property
    def last(self) -> Footer | None:
        """The newest footer."""
        return self.heads[-1].footer if self.heads else None

    def between(self, first: int, to: int) -> list[Head]:
        """Segments first..to."""
        return [head for head in self.heads if first <= head.n <= to]


def before_all(state: StreamState, target: int) -> Plan:
    """The state before plan 0: nothing published, all roots live."""
    return Plan(
        k=-1,
        after=state.opens_from,
        upto=state.opens_from,
        shards={root.shard.id: PlanShard(opens=state.opens_from) for root in state.roots},
        target=target,
    )


def carried(last: Plan) -> tuple[dict[str, PlanShard], dict[str, int]]:
    """The live shards after `last`, and those that are gone: ended, with nothing left to publish."""
    live, gone = {}, dict(last.gone)
    for shard, entry in last.shards.items():
        if entry.ended and entry.next == entry.to + 1:
            gone[shard] = entry.to
        else:
            live[shard] = entry
    return live, gone


def joined(live: dict[str, PlanShard], gone: Mapping[str, int], views: Mapping[str, LogView]) -> dict[str, PlanShard]:
    """`live` with the children that ended logs name; each joins once, and holds the frontier until its log begins."""
    shards = dict(live)
    for view in views.values():
        footer = view.last
        if footer is None or not footer.ended:
            continue
        for child in footer.children:
            if child.id in gone:
                continue
            known = shards.get(child.id) or PlanShard(opens=footer.open_from, parents=child.parents)
            shards[child.id] = msgspec.structs.replace(known, opens=max(known.opens, footer.open_from))
    return shards


def bound(entry: PlanShard, view: LogView | None) -> int | None:
    """How far this shard lets the frontier go; None where it does not hold it (its log has ended)."""
    footer = view.last if view else None
    if footer is None:
        return entry.opens
    return None if footer.ended else footer.open_from


def frontier(shards: Mapping[str, PlanShard], views: Mapping[str, LogView]) -> tuple[int, str] | None:
    """The least bound over all live shards, and the shard that holds it; None where no log is open."""
    bounds = [(b, shard) for shard, entry in shards.items() if (b := bound(entry, views.get(shard))) is not None]
    return min(bounds) if bounds else None


def _bytes_by_period(views: Mapping[str, LogView], after: int, upto: int) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for view in views.values():
        for head in view.heads:
            assert head.footer is not None
            rows = head.footer.member_rows
            rows = rows[(rows["period"] >= after) & (rows["period"] < upto)]
            blobs = rows[np.unique(rows["offset"], return_index=True)[1]]  # of one period each
            for period in np.unique(blobs["period"]).tolist():
                size = int(blobs["length"][blobs["period"] == period].sum())
                sizes[period] = sizes.get(period, 0) + size
    return sizes


def _capped(views: Mapping[str, LogView], after: int, upto: int, limit: int) -> int:
    """`upto`, or less where that would publish more than `limit` bytes; at least one period that holds data."""
    total = 0
    for number, (period, size) in enumerate(sorted(_bytes_by_period(views, after, upto).items())):
        total += size
        if total > limit and number:
            return period
    return upto


def planned_bytes(plan: Plan, views: Mapping[str, LogView]) -> int:
    """Compressed bytes that the plan publishes."""
    return sum(_bytes_by_period(views, plan.after, plan.upto).values())


def holders(last: Plan, views: Mapping[str, LogView]) -> list[str]:
    """The shards that keep the plan after `last` from being made: none of their periods is closed beyond it."""
    live, gone = carried(last)
    shards = joined(live, gone, views)
    return [s for s, entry in shards.items() if (b := bound(entry, views.get(s))) is not None and b <= last.upto]


def propose(last: Plan, views: Mapping[str, LogView], *, target: int, limit: int = PLAN_BYTES) -> Plan | None:
    """The plan after `last`, once the frontier has passed `last.upto`; else None.

    `views` holds, for every live shard, its segments from `next` on, their chain checked.
    """
    live, gone = carried(last)
    shards = joined(live, gone, views)
    at = frontier(shards, views)
    upto = at[0] if at else max((view.last.open_from for view in views.values() if view.last), default=last.upto)
    if upto <= last.upto:
        return None
    upto = _capped(views, last.upto, upto, limit)
    entries = {shard: _entry(entry, views.get(shard) or LogView(), upto) for shard, entry in sorted(shards.items())}
    return Plan(k=last.k + 1, after=last.upto, upto=upto, shards=entries, gone=gone, target=target)


def _entry(entry: PlanShard, view: LogView, upto: int) -> PlanShard:
    """The shard's part of a plan up to `upto`; `entry` is its part of the plan before."""
    to, digest, ended = entry.to, entry.digest, entry.ended
    for head in view.heads:
        assert head.footer is not None
        if head.n < entry.to:
            continue
        if head.n > to:
            to, digest = head.n, head.digest
        ended = head.footer.ended
        if head.footer.open_from >= upto:
            break
    following = to + 1
    for head in view.between(entry.next, to):
        if _reaches(head.footer, upto):
            following = head.n
            break
    return PlanShard(
        first=entry.next, to=to, digest=digest, next=following, ended=ended, opens=entry.opens, parents=entry.parents
    )


def _reaches(footer: Footer | None, upto: int) -> bool:
    """Whether the segment holds a member, or a count, of a period that is not published by then."""
    assert footer is not None
    return any(period >= upto for period in footer.periods)


@dataclass(frozen=True, slots=True)
class Piece:
    """One member of one segment, as part of an object.

    `offset` (into the segment), `length` and `digest` are of its blob, in which, unfolded, its `raw` bytes begin at
    `begin` of `whole`.
    """

    shard: str
    n: int
    offset: int
    length: int
    digest: bytes
    rows: int
    raw: int
    begin: int
    whole: int

    @property
    def shares(self) -> bool:
        """Whether others are in the same blob."""
        return self.raw < self.whole

    @property
    def size(self) -> int:
        """Its part of the blob's compressed bytes, by weight of its lines."""
        return self.length * self.raw // self.whole if self.shares else self.length


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """An object to be: its pieces in order of (shard, n)."""

    key: str
    folder: Folder
    period: int
    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        """Compressed bytes to read for it."""
        return sum(piece.size for piece in self.pieces)

    @property
    def raw(self) -> int:
        """Bytes of its lines."""
        return sum(piece.raw for piece in self.pieces)

    def afresh(self, small: int) -> bool:
        """Whether its members are so small that one fresh member serves better."""
        return len(self.pieces) > 1 and self.raw < small * len(self.pieces)


def shares(plan: Plan, views: Mapping[str, LogView]) -> int:
    """In how many shares of the folders' hash space to work through the plan, so that no share has many members."""
    members = sum(
        len(head.footer.member_rows)
        for shard, entry in plan.shards.items()
        if shard in views
        for head in views[shard].between(entry.first, entry.to)
        if head.footer is not None
    )
    return 1 << max(0, (members // SHARE_MEMBERS).bit_length())


def objects(plan: Plan, views: Mapping[str, LogView], share: int = 0, of: int = 1) -> list[ObjectSpec]:
    """The plan's objects in one of `of` equal shares of the hash space, by (period, hash of the folder, folder, part):
    the order of segments.

    All shares one after the other are all objects; what an object is made of depends on no share.
    """
    grouped: dict[tuple[int, int, str], list[Piece]] = {}
    folders: dict[str, Folder] = {}
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            for folder, period, piece in _pieces(head, plan, share, of):
                folders[folder.path] = folder
                grouped.setdefault((period, folder.hash, folder.path), []).append(piece)
    specs = []
    for (period, _, path), pieces in sorted(grouped.items()):
        for part, chosen in enumerate(_cut(pieces, plan.target)):
            specs.append(ObjectSpec(object_key(path, period, part), folders[path], period, tuple(chosen)))
    return specs


def _pieces(head: Head, plan: Plan, share: int, of: int) -> Iterator[tuple[Folder, int, Piece]]:
    footer = head.footer
    assert footer is not None
    rows = footer.member_rows
    chosen = (rows["period"] >= plan.after) & (rows["period"] < plan.upto)
    if of > 1 and len(rows):
        hashes = np.array([folder.hash for folder in footer.folders], dtype=np.uint64)[rows["folder"]]
        chosen &= hashes >> np.uint64(64 - (of.bit_length() - 1)) == np.uint64(share)
    begins, wholes = within(rows)
    places = zip(rows[chosen].tolist(), begins[chosen].tolist(), wholes[chosen].tolist(), strict=True)
    for (folder, period, offset, length, count, raw, digest), begin, whole in places:
        piece = Piece(head.shard, head.n, offset, length, digest, count, raw, begin, whole)
        yield footer.folders[folder], period, piece


def _cut(pieces: Sequence[Piece], target: int) -> Iterator[list[Piece]]:
    """Runs of pieces of about `target` bytes; a run is closed once it has reached it."""
    run: list[Piece] = []
    size = 0
    for piece in pieces:
        run.append(piece)
        size += piece.size
        if size >= target:
            yield run
            run, size = [], 0
    if run:
        yield run


def period_counts(plan: Plan, views: Mapping[str, LogView]) -> dict[int, Counts]:
    """What was read for each period of the plan."""
    totals: dict[int, Counts] = {}
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            assert head.footer is not None
            for period, counts in head.footer.periods.items():
                if plan.after <= period < plan.upto:
                    totals.setdefault(period, Counts()).add(counts)
    return dict(sorted(totals.items()))


def done(plan: Plan, published: Iterable[PublishedObject], periods: dict[int, Counts]) -> Done:
    """The plan's last document."""
    rows = sorted(published, key=lambda one: one.key)
    totals = {
        "objects": len(rows),
        "rows": sum(one.rows for one in rows if not one.rejected),
        "rejected": sum(one.rows for one in rows if one.rejected),
        "bytes": sum(one.bytes for one in rows),
        "raw_bytes": sum(one.raw for one in rows),
        "duplicates": sum(counts.duplicates for counts in periods.values()),
    }
    return Done(k=plan.k, after=plan.after, upto=plan.upto, objects=rows, periods=periods, totals=totals)


# Hours.


def closed_hours(after: int, upto: int, first_hour: int, held: Iterable[int]) -> list[int]:
    """The hours that moving the frontier from `after` to `upto` closes and that get a manifest.

    From `first_hour` on every one; before it only those of the periods `held`: a backfill reaches far back, and
    nothing may walk over its empty hours.
    """
    begin = hour_of(after)
    hours = {hour_of(period) for period in held}
    hours = {hour for hour in hours if begin <= hour and hour + HOUR_MS <= upto}
    hours.update(range(max(begin, first_hour), hour_of(upto), HOUR_MS))
    return sorted(hours)


def _manifest(objects_: Iterable[PublishedObject], url: str) -> bytes:
    """A Redshift COPY manifest (docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html)."""
    entries = [
        {"url": f"{url}/{one.key}", "mandatory": True, "meta": {"content_length": one.bytes}} for one in objects_
    ]
    return msgspec.json.encode({"entries": entries})


def hour_documents(
    state: StreamState, hour: int, dones: Sequence[Done], url: str
) -> tuple[list[tuple[str, bytes]], tuple[str, bytes]]:
    """The partition manifests of a closed hour, and the hour's own, as (key, body)."""
    folders: dict[str, list[PublishedObject]] = {}
    counts = Counts()
    for one in sorted((o for d in dones for o in d.objects if hour_of(o.period) == hour), key=lambda o: o.key):
        folders.setdefault(one.folder, []).append(one)
    for document in dones:
        for period, some in document.periods.items():
            if hour_of(period) == hour:
                counts.add(some)
    partitions = [(partition_manifest_key(path), _manifest(several, url)) for path, several in sorted(folders.items())]
    rows = [_partition_row(path, several) for path, several in sorted(folders.items())]
    body = {
        "version": 1,
        "stream": state.stream,
        "hour": moment(hour).strftime("%Y-%m-%dT%H:00:00Z"),
        "totals": _totals(o for several in folders.values() for o in several if not o.rejected),
        "counts": {
            name: getattr(counts, name) for name in ("events", "accepted", "duplicates", "rejected", "late", "early")
        },
        "partitions": [row for row, rejected in rows if not rejected],
        "rejected": [row for row, rejected in rows if rejected],
    }
    return partitions, (hour_manifest_key(hour), msgspec.json.format(msgspec.json.encode(body), indent=1))


def _totals(several: Iterable[PublishedObject]) -> dict[str, int]:
    every = list(several)
    return {
        "objects": len(every),
        "rows": sum(one.rows for one in every),
        "bytes": sum(one.bytes for one in every),
        "raw_bytes": sum(one.raw for one in every),
    }


def _partition_row(path: str, several: Sequence[PublishedObject]) -> tuple[dict[str, object], bool]:
    first = several[0]
    row: dict[str, object] = {"folder": path, "manifest": partition_manifest_key(path), **_totals(several)}
    if not first.rejected:
        row = {"customer": first.customer, "event_type": first.event_type, **row}
    return row, first.rejected


# Clean-up.


def unneeded(shard: str, plan: Plan, floors: Iterable[Mapping[str, int]], head: int) -> int:
    """Segments of `shard` below this number are needed by nobody: published, outside every window, and not the head.

    `plan` is the last done one, `floors` those of every live head and of what unborn children will need.
    """
    entry = plan.shards.get(shard)
    limit = min(entry.next, entry.to) if entry else plan.gone.get(shard, 0)
    if entry and entry.ended:
        limit = min(limit, entry.to)
    for needed in floors:
        limit = min(limit, needed.get(shard, limit))
    return max(0, min(limit, head))

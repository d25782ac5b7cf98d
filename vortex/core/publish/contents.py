"""The content of a publication: the objects of a plan, and the manifests of the hours that it closes.

All of it is a function of the plan and the logs, so any worker can repeat it with the same result. Plans themselves are
made in `vortex.core.publish.plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.layout import hour_manifest_key, hour_of, moment, object_key, partition_manifest_key
from vortex.core.log.rules import BrokenLog, SegmentHeader, StreamState
from vortex.core.log.segment import Counts, Folder, Footer, member_offsets
from vortex.core.model import HOUR_MS
from vortex.core.publish.plan import LogView, Plan

SHARE_MEMBERS = 20_000
"""Members that publishing keeps in memory at a time (a few hundred bytes each)."""


class PublishedObject(msgspec.Struct, kw_only=True):
    """One row of `done.json`. `bytes` is the size of the object, `raw` of its lines; `digest` is its XXH3-128.

    An object `beside` rejections is `rejected`, too; its rows do not count as rejections.
    """

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
    beside: bool = False


class Outcome(Counts):
    """The counts of a period and the outcome of its rows: `accepted = published + dropped`."""

    published: int = 0
    dropped: int = 0


class Done(msgspec.Struct, kw_only=True):
    """`done.json`: the result of a plan. `periods` has the counts of each published period, `decided` the digests
    of the decision files.
    """

    k: int
    after: int
    upto: int
    objects: list[PublishedObject]
    periods: dict[int, Outcome]
    totals: dict[str, int]
    decided: list[str]
    version: int = 2


_NONE = np.empty(0, dtype=np.int64)
Dropped = Mapping[tuple[str, int], NDArray[np.int64]]
"""By segment (shard, n), the numbers of the rows that a plan does not publish, in order."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One member of one segment, as part of an object.

    `offset` (in the segment), `length` and `digest` are of its blob. In the decompressed blob of `whole` bytes, its
    `raw` bytes start at `begin`. `out` are the numbers, from 0, of its lines that are left out.
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
    out: NDArray[np.int64] = field(default_factory=lambda: _NONE, compare=False)

    @property
    def whole_blob(self) -> bool:
        """Whether its blob may be copied into an object."""
        return not self.shares and not len(self.out)

    @property
    def shares(self) -> bool:
        """Whether other members are in the same blob."""
        return self.raw < self.whole

    @property
    def size(self) -> int:
        """Its share of the blob's compressed bytes, in proportion to its lines."""
        return self.length * self.raw // self.whole if self.shares else self.length


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """An object to write: its pieces in order of (shard, n)."""

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
        """Bytes of its lines, including those that are left out."""
        return sum(piece.raw for piece in self.pieces)

    @property
    def rows(self) -> int:
        """The number of its lines; an object without lines is not written."""
        return sum(piece.rows - len(piece.out) for piece in self.pieces)

    def must_recompress(self, small: int) -> bool:
        """Whether its members are so small that one recompressed member is better."""
        return len(self.pieces) > 1 and self.raw < small * len(self.pieces)


def shares(plan: Plan, views: Mapping[str, LogView]) -> int:
    """The number of shares of the folders' hash space in which to process the plan: no share has many members."""
    members = sum(
        len(head.footer.member_rows)
        for shard, entry in plan.shards.items()
        if shard in views
        for head in views[shard].between(entry.first, entry.to)
    )
    return 1 << max(0, (members // SHARE_MEMBERS).bit_length())


def objects(
    plan: Plan, views: Mapping[str, LogView], dropped: Dropped, share: int = 0, of: int = 1
) -> list[ObjectSpec]:
    """The plan's objects in share `share` of `of` equal shares of the hash space, in order of (period, hash of the
    folder, folder, part), as in segments. Objects are cut as if no row was dropped; those without rows are left out.

    The concatenation of all shares gives all objects; their content does not depend on the number of shares.
    """
    grouped: dict[tuple[int, int, str], list[Piece]] = {}
    folders: dict[str, Folder] = {}
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            for folder, period, piece in _pieces(head, plan, dropped, share, of):
                folders[folder.path] = folder
                grouped.setdefault((period, folder.hash, folder.path), []).append(piece)
    specs = []
    for (period, _, path), pieces in sorted(grouped.items()):
        for part, chosen in enumerate(_cut(pieces, plan.target)):
            spec = ObjectSpec(object_key(path, period, part), folders[path], period, tuple(chosen))
            if spec.rows:
                specs.append(spec)
    return specs


def _pieces(
    head: SegmentHeader, plan: Plan, dropped: Dropped, share: int, of: int
) -> Iterator[tuple[Folder, int, Piece]]:
    footer = head.footer
    rows = footer.member_rows
    chosen = (rows["period"] >= plan.after) & (rows["period"] < plan.upto)
    if of > 1 and len(rows):
        hashes = np.array([folder.hash for folder in footer.folders], dtype=np.uint64)[rows["folder"]]
        chosen &= hashes >> np.uint64(64 - (of.bit_length() - 1)) == np.uint64(share)
    begins, wholes = member_offsets(rows)
    outs = _left_out(footer, dropped.get((head.shard, head.n), _NONE), chosen)
    places = zip(rows[chosen].tolist(), begins[chosen].tolist(), wholes[chosen].tolist(), outs, strict=True)
    for (folder, period, offset, length, count, raw, digest), begin, whole, out in places:
        piece = Piece(head.shard, head.n, offset, length, digest, count, raw, begin, whole, out)
        yield footer.folders[folder], period, piece


def _left_out(footer: Footer, out: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Iterable[NDArray[np.int64]]:
    """For each chosen member, the numbers of its lines among the segment's dropped rows."""
    if not len(out):
        return repeat(_NONE, int(np.count_nonzero(chosen)))
    first = footer.first_rows[chosen]
    last = np.where(footer.rejections[chosen], first, first + footer.member_rows["rows"][chosen].astype(np.int64))
    places = zip(np.searchsorted(out, first).tolist(), np.searchsorted(out, last).tolist(), first.tolist(), strict=True)
    return [out[begin:end] - at for begin, end, at in places]


def _cut(pieces: Sequence[Piece], target: int) -> Iterator[list[Piece]]:
    """Runs of pieces of about `target` bytes; a run ends when it has reached that size."""
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


def period_counts(
    plan: Plan, views: Mapping[str, LogView], published: Iterable[PublishedObject], dropped: Mapping[int, int]
) -> dict[int, Outcome]:
    """The counts and outcomes of each period of the plan. Raises BrokenLog if they do not add up."""
    totals: dict[int, Outcome] = {}
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            for period, counts in head.footer.periods.items():
                if plan.after <= period < plan.upto:
                    totals.setdefault(period, Outcome()).add(counts)
    for one in published:
        if not one.rejected:
            totals.setdefault(one.period, Outcome()).published += one.rows
    for period, number in dropped.items():
        totals.setdefault(period, Outcome()).dropped += number
    for period, counts in totals.items():
        if counts.accepted != counts.published + counts.dropped:
            raise BrokenLog(
                f"plan {plan.k}, period {period}: the logs have {counts.accepted} rows, but {counts.published} were "
                f"published and {counts.dropped} dropped: rows are missing, so the plan is not done"
            )
    return dict(sorted(totals.items()))


def done(
    plan: Plan, published: Iterable[PublishedObject], periods: dict[int, Outcome], decided: Sequence[str] = ()
) -> Done:
    """The plan's done document."""
    rows = sorted(published, key=lambda one: one.key)
    totals = {
        "objects": len(rows),
        "rows": sum(one.rows for one in rows if not one.rejected),
        "rejected": sum(one.rows for one in rows if one.rejected and not one.beside),
        "bytes": sum(one.bytes for one in rows),
        "raw_bytes": sum(one.raw for one in rows),
        "dropped": sum(counts.dropped for counts in periods.values()),
        "filtered": sum(counts.filtered for counts in periods.values()),
    }
    return Done(
        k=plan.k,
        after=plan.after,
        upto=plan.upto,
        objects=rows,
        periods=periods,
        totals=totals,
        decided=list(decided),
    )


# Hours.


def closed_hours(after: int, upto: int, first_hour: int, held: Iterable[int]) -> list[int]:
    """The hours that get closed, with a manifest, when the frontier moves from `after` to `upto`.

    From `first_hour` on these are all hours. Before it only those of the periods `held`: a backfill may go far back,
    and its empty hours must not be enumerated.
    """
    begin = hour_of(after)
    hours = {hour_of(period) for period in held}
    hours = {hour for hour in hours if begin <= hour and hour + HOUR_MS <= upto}
    hours.update(range(max(begin, first_hour), hour_of(upto), HOUR_MS))
    return sorted(hours)


_COUNTED = ("events", "accepted", "published", "dropped", "filtered", "rejected", "late", "early", "untimed")


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
    counts = Outcome()
    for one in sorted((o for d in dones for o in d.objects if hour_of(o.period) == hour), key=lambda o: o.key):
        folders.setdefault(one.folder, []).append(one)
    for document in dones:
        for period, some in document.periods.items():
            if hour_of(period) == hour:
                counts.add(some)
    partitions = [(partition_manifest_key(path), _manifest(several, url)) for path, several in sorted(folders.items())]
    rows = {"partitions": list[dict[str, object]](), "rejected": [], "beside": []}
    for path, several in sorted(folders.items()):
        kind = "beside" if several[0].beside else "rejected" if several[0].rejected else "partitions"
        rows[kind].append(_partition_row(path, several))
    body = {
        "version": 1,
        "stream": state.stream,
        "hour": moment(hour).strftime("%Y-%m-%dT%H:00:00Z"),
        "totals": _totals(o for several in folders.values() for o in several if not o.rejected),
        "counts": {name: getattr(counts, name) for name in _COUNTED},
        "partitions": rows["partitions"],
        "rejected": rows["rejected"],
    }
    if rows["beside"]:
        body["beside"] = rows["beside"]
    return partitions, (hour_manifest_key(hour), msgspec.json.format(msgspec.json.encode(body), indent=1))


def _totals(several: Iterable[PublishedObject]) -> dict[str, int]:
    every = list(several)
    return {
        "objects": len(every),
        "rows": sum(one.rows for one in every),
        "bytes": sum(one.bytes for one in every),
        "raw_bytes": sum(one.raw for one in every),
    }


def _partition_row(path: str, several: Sequence[PublishedObject]) -> dict[str, object]:
    first = several[0]
    row: dict[str, object] = {"folder": path, "manifest": partition_manifest_key(path), **_totals(several)}
    if not first.rejected:
        row = {"customer": first.customer, "event_type": first.event_type, **row}
    return row

"""The members of a plan, and the objects that they make.

All members of a plan are put in order once, so listing the objects takes n log n for n members, in pieces that fit into
memory. All of it is a function of the plan and the logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vortex.core.compression import Compression
from vortex.core.layout import bundle_key, object_key
from vortex.core.log.rules import BrokenLog, SegmentHeader
from vortex.core.log.segment import Folder, member_offsets
from vortex.core.publish.bundles import bundle_numbers, units
from vortex.core.publish.pieces import NOTHING, ObjectSpec, Piece, cut
from vortex.core.publish.plan import LogView, Plan
from vortex.core.publish.shares import mask, part_stride

CHUNK_MEMBERS = 20_000
"""Members whose objects are in memory at a time (a few hundred bytes each)."""
LISTED = np.dtype(
    [
        ("period", "<i8"),
        ("folder", "<u4"),
        ("segment", "<u4"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("begin", "<u8"),
        ("whole", "<u8"),
        ("first", "<u4"),
        ("rows", "<u4"),
        ("raw", "<u8"),
        ("digest", "V16"),
    ]
)
"""A member as listed: `folder` and `segment` are indexes of `Members`; `first` is the number of its first row within
the segment. The others are as in `Piece`. 80 bytes, and as much again while they are sorted."""

_PARTS = 1 << 62
"""More than any folder has."""
_ROW_BITS = np.uint64(32)
Run = tuple[str, int, int, int]
"""A range of a segment: shard, n, and the offsets of its begin and end."""
Dropped = Mapping[tuple[str, int], NDArray[np.int64]]
"""By segment (shard, n), the numbers of the rows that a plan does not publish, in order."""


@dataclass(frozen=True, slots=True)
class Members:
    """Members in order of (period, hash of the folder, folder, shard, n); in each period those in bundles come first.

    `groups` are the indexes where the members of a folder and period begin, and the number of all members; `ends` are
    the compressed bytes before each of them. `rejected`
    says which folders hold rejections. `dropped` are the dropped rows: the index of the segment, and in the lower half
    of the bits the number of the row. `parts` has for each folder the number of the first part in this range, and
    of the first one behind it. `bundles` has for each group the number of its bundle in range `number`, or -1. `units`
    are the groups where a bundle begins, or a group in none, and the number of groups: a bundle is written as a whole.
    """

    table: NDArray[np.void]
    groups: NDArray[np.int64]
    ends: NDArray[np.int64]
    folders: list[Folder]
    rejected: NDArray[np.bool_]
    segments: list[tuple[str, int]]
    dropped: NDArray[np.uint64]
    compression: Compression
    parts: list[tuple[int, int]]
    number: int
    bundles: NDArray[np.int64]
    units: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of groups."""
        return len(self.groups) - 1

    @property
    def nbytes(self) -> int:
        """Compressed bytes of all members."""
        return int(self.ends[-1])

    def chunks(self, begin: int = 0, end: int | None = None, most: int = CHUNK_MEMBERS) -> Iterator[tuple[int, int]]:
        """The groups begin..end (half-open; all by default) in runs (first, last) of about `most` members; a larger
        group is a run by itself.
        """
        end = len(self) if end is None else end
        while begin < end:
            last = min(end, self._whole(begin, _fitting(self.groups, begin, most)))
            yield begin, last
            begin = last

    def fitting(self, first: int, most: int) -> int:
        """Where the groups from `first` on with at most `most` compressed bytes end; at least one group."""
        return self._whole(first, _fitting(self.ends, first, most))

    def _whole(self, first: int, last: int) -> int:
        """Where the last unit ends that ends at `last` or before; but at least the unit of `first`."""
        at = int(np.searchsorted(self.units, last, side="right")) - 1
        return int(self.units[at] if self.units[at] > first else self.units[at + 1])

    def runs(self, first: int, last: int, near: int, most: int) -> list[Run]:
        """The ranges of segments that hold the blobs of the groups first..last (half-open), those first that the first
        objects need.

        Blobs closer than `near` are in one range; a range has at most about `most` bytes, unless one blob has more.
        """
        members = self.table[self.groups[first] : self.groups[last]]
        order = np.lexsort((members["offset"], members["segment"]))
        members = members[order]
        segment, begin = members["segment"], members["offset"].astype(np.int64)
        end = begin + members["length"].astype(np.int64)
        starts = np.ones(len(members), dtype=bool)
        starts[1:] = (segment[1:] != segment[:-1]) | (begin[1:] - end[:-1] > near)
        part = (end - 1 - begin[starts][np.cumsum(starts) - 1]) // most
        starts[1:] |= part[1:] != part[:-1]
        firsts = np.flatnonzero(starts)
        lasts = np.append(firsts[1:], len(members)) - 1
        needed = np.argsort(np.minimum.reduceat(order, firsts), kind="stable") if len(firsts) else firsts
        firsts, lasts = firsts[needed], lasts[needed]
        places = zip(segment[firsts].tolist(), begin[firsts].tolist(), end[lasts].tolist(), strict=True)
        return [(*self.segments[at], low, high) for at, low, high in places]

    def objects(self, target: int, first: int, last: int) -> list[ObjectSpec]:
        """The objects of the groups first..last (half-open), in order. They are cut at `target` bytes as if no row was
        dropped; those without rows are left out. Raises BrokenLog if a shared folder has too many.
        """
        bounds = self.groups[first : last + 1]
        members = self.table[bounds[0] : bounds[-1]]
        pieces = self._pieces(members, self._left_out(members))
        specs = []
        places = members[bounds[:-1] - bounds[0]]
        sizes = np.diff(bounds).tolist()
        bundles = self.bundles[first:last].tolist()
        groups = zip(places["period"].tolist(), places["folder"].tolist(), sizes, bundles, strict=True)
        for period, folder, size, bundle in groups:
            its, (first, limit) = self.folders[folder], self.parts[folder]
            several = [next(pieces) for _ in range(size)]
            if bundle >= 0:
                key = bundle_key(period, self.number, bundle, self.compression)
                specs.append(ObjectSpec(key, its, period, tuple(several), bundled=True))
                continue
            for part, chosen in enumerate(cut(several, target), first):
                if part >= limit:
                    raise BrokenLog(f"{its.path}: has more objects than segments in a range of its plan")
                spec = ObjectSpec(object_key(its.path, period, part, self.compression), its, period, tuple(chosen))
                specs.append(spec)
        return [spec for spec in specs if spec.rows]

    def _pieces(self, members: NDArray[np.void], outs: Mapping[int, NDArray[np.int64]]) -> Iterator[Piece]:
        segments = self.segments
        names = ("segment", "offset", "length", "digest", "rows", "raw", "begin", "whole")
        columns = (members[name].tolist() for name in names)  # half the time of rows
        for at, (segment, offset, length, digest, rows, raw, begin, whole) in enumerate(zip(*columns, strict=True)):
            shard, n = segments[segment]
            yield Piece(shard, n, offset, length, digest, rows, raw, begin, whole, outs.get(at, NOTHING))

    def _left_out(self, members: NDArray[np.void]) -> dict[int, NDArray[np.int64]]:
        """By index of a member, the numbers of its lines that are left out, for members with such lines."""
        first = members["segment"].astype(np.uint64) << _ROW_BITS | members["first"]
        rejected = self.rejected[members["folder"]]
        begins = np.searchsorted(self.dropped, first)
        ends = np.searchsorted(self.dropped, first + np.where(rejected, 0, members["rows"]).astype(np.uint64))
        return {
            at: (self.dropped[begins[at] : ends[at]] - first[at]).astype(np.int64)
            for at in np.flatnonzero(ends > begins).tolist()
        }


class Listed(NamedTuple):
    """The chosen members of one segment. `folder` is an index of `folders`, `segment` is not set."""

    table: NDArray[np.void]
    folders: list[Folder]


def listed(head: SegmentHeader, plan: Plan, number: int) -> Listed:
    """The members of a segment, with its index, in a range of the plan."""
    table = _listed(head, plan, number)
    used, table["folder"] = np.unique(table["folder"], return_inverse=True)
    return Listed(table, [head.footer.folders[at] for at in used.tolist()])


def members_of(
    plan: Plan,
    views: Mapping[str, LogView],
    dropped: Dropped,
    number: int = 0,
    read: Mapping[tuple[str, int], Listed] | None = None,
) -> Members:
    """The members in range `number` of the plan.

    `read` has those of the segments whose index is left out in `views`.
    """
    there = read or {}
    numbers: dict[str, int] = {}
    folders: list[Folder] = []
    segments: list[tuple[str, int]] = []
    tables: list[NDArray[np.void]] = [np.empty(0, dtype=LISTED)]
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            its = there.get((shard, head.n)) or listed(head, plan, number)
            if len(its.table):
                its.table["segment"] = len(segments)
                its.table["folder"] = _numbered(its.folders, numbers, folders)[its.table["folder"]]
                segments.append((shard, head.n))
                tables.append(its.table)
    table = np.concatenate(tables)
    del tables
    ranks, folders = _ranked(folders)
    table["folder"] = ranks[table["folder"]]
    table = table[np.lexsort((table["segment"], table["folder"], table["period"]))]
    rejected = np.array([folder.rejected for folder in folders], dtype=bool)
    table, groups, bundles = _bundled(plan, table, folders, rejected)
    return Members(
        table,
        groups,
        np.concatenate(([0], np.cumsum(_sizes(table))))[groups],
        folders,
        rejected,
        segments,
        _rows_of(segments, dropped),
        plan.compression,
        _parts(plan, number, folders),
        number,
        bundles,
        units(table["period"][groups[:-1]], bundles),
    )


def _bundled(
    plan: Plan, table: NDArray[np.void], folders: Sequence[Folder], rejected: NDArray[np.bool_]
) -> tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.int64]]:
    """The members with those in bundles first in their period, their groups, and the number of each group's bundle."""
    groups = _groups(table)
    if not plan.bundle or not len(table):
        return table, groups, np.full(len(groups) - 1, -1, dtype=np.int64)
    # A shared folder has members in several ranges; rejections are read by people, who look into their folder.
    shared = frozenset(plan.shared)
    apart = rejected | np.array([folder.hash in shared for folder in folders], dtype=bool)
    sizes = np.add.reduceat(_sizes(table), groups[:-1])
    own = (sizes >= plan.bundle) | apart[table["folder"][groups[:-1]]]
    periods = table["period"][groups[:-1]]
    order = np.lexsort((own, periods))
    table = table[np.lexsort((np.repeat(own, np.diff(groups)), table["period"]))]
    groups = _groups(table)
    return table, groups, bundle_numbers(periods, sizes[order], np.diff(groups), own[order], plan.target)


def _groups(table: NDArray[np.void]) -> NDArray[np.int64]:
    """Where the members of a folder and period begin, and the number of all members."""
    starts = np.ones(len(table), dtype=bool)
    starts[1:] = (table["folder"][1:] != table["folder"][:-1]) | (table["period"][1:] != table["period"][:-1])
    return np.append(np.flatnonzero(starts), len(table))


def _parts(plan: Plan, number: int, folders: Sequence[Folder]) -> list[tuple[int, int]]:
    shared, most = frozenset(plan.shared), part_stride(plan)
    return [(number * most, (number + 1) * most) if folder.hash in shared else (0, _PARTS) for folder in folders]


def _sizes(table: NDArray[np.void]) -> NDArray[np.int64]:
    """For each member its share of its blob's compressed bytes, as `Piece.size`."""
    length, raw, whole = (table[name].astype(np.int64) for name in ("length", "raw", "whole"))
    return np.where(raw < whole, length * raw // np.maximum(whole, 1), length)


def _fitting(ends: NDArray[np.int64], first: int, most: int) -> int:
    return max(first + 1, int(np.searchsorted(ends, ends[first] + most, side="right")) - 1)


def _rows_of(segments: Sequence[tuple[str, int]], dropped: Dropped) -> NDArray[np.uint64]:
    rows = [np.empty(0, dtype=np.uint64)]
    for at, segment in enumerate(segments):
        if segment in dropped:
            rows.append(dropped[segment].astype(np.uint64) | np.uint64(at) << _ROW_BITS)
    return np.concatenate(rows)


def _listed(head: SegmentHeader, plan: Plan, number: int) -> NDArray[np.void]:
    """The chosen members of a segment; `folder` is the index in its footer."""
    footer, rows = head.footer, head.footer.member_rows
    chosen = (rows["period"] >= plan.after) & (rows["period"] < plan.upto)
    if plan.ranges > 1 and len(rows):
        hashes = np.array([folder.hash for folder in footer.folders], dtype=np.uint64)[rows["folder"]]
        chosen &= mask(plan, number, (head.shard, head.n), hashes)
    listed = np.empty(np.count_nonzero(chosen), dtype=LISTED)
    if not len(listed):
        return listed
    for name in ("period", "folder", "offset", "length", "rows", "raw", "digest"):
        listed[name] = rows[name][chosen]
    begins, wholes = member_offsets(rows)
    listed["begin"], listed["whole"], listed["first"] = begins[chosen], wholes[chosen], footer.first_rows[chosen]
    return listed


def _numbered(its: Sequence[Folder], numbers: dict[str, int], folders: list[Folder]) -> NDArray[np.uint32]:
    """The numbers of a segment's folders over all segments. Adds new ones to `numbers` and `folders`."""
    found = np.empty(len(its), dtype=np.uint32)
    for at, folder in enumerate(its):
        number = numbers.setdefault(folder.path, len(folders))
        if number == len(folders):
            folders.append(folder)
        else:
            folders[number] = folder  # as the last segment that names it says
        found[at] = number
    return found


def _ranked(folders: Sequence[Folder]) -> tuple[NDArray[np.uint32], list[Folder]]:
    """For each folder its place in order of (hash, path), and the folders in that order."""
    order = sorted(range(len(folders)), key=lambda at: (folders[at].hash, folders[at].path))
    ranks = np.empty(len(order), dtype=np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks, [folders[at] for at in order]


def objects(plan: Plan, views: Mapping[str, LogView], dropped: Dropped, number: int = 0) -> list[ObjectSpec]:
    """All objects in range `number` of the plan, in order of (period, hash of the folder, folder, part), as in
    segments. For a plan that fits into memory.
    """
    members = members_of(plan, views, dropped, number)
    return [spec for first, last in members.chunks() for spec in members.objects(plan.target, first, last)]

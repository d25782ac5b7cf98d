"""The id file of a group of shards: their ids in a plan, by parts of the keys, `dedup/<k, 10 digits>-<group>-ids`.

    rows of each part, 20 bytes each | runs | rows of each run in each part | digests | document (JSON) | trailer

Every segment's ids are read once, and a part then reads its rows of each group. Groups follow the ranges in which large
folders are shared by segments: the worker of a range reads the footers of these segments in any case. Without such
ranges there are as many groups as parts. The file only saves requests: what it holds follows from plan and segments,
and a missing one is made again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from vortex.core.dedup.rows import RUN, PlanRuns, Rows, RunTable, part_of, words_of
from vortex.core.log.trailer import CorruptSegment, Trailer
from vortex.core.publish.plan import Plan
from vortex.core.publish.shares import shared_range

VERSION = 1
GROUP_TRAILER = Trailer("id file", b"VORTEXID", 1, VERSION)
_UNEVEN = 1.5
"""Times the segments of an even group that a group by ranges has at most. Ranges are even in bytes of all folders."""
ROW = np.dtype([("high", ">u8"), ("low", ">u8"), ("row", "<u4")])
"""The key of a row, and its number within the segment."""


class _Document(msgspec.Struct, kw_only=True):
    k: int
    group: int
    parts: int
    runs: int
    made_of: bytes


@dataclass(frozen=True, slots=True)
class GroupIds:
    """An id file without its rows. `counts[part, run]` is the number of rows; `name` is for messages."""

    runs: RunTable
    counts: NDArray[np.uint32]
    digests: list[bytes]
    name: str

    def range_of(self, part: int) -> tuple[int, int]:
        """Offset and length in the file of the rows of a part."""
        ends = np.cumsum(self.counts.sum(axis=1, dtype=np.int64)) * ROW.itemsize
        begin = int(ends[part - 1]) if part else 0
        return begin, int(ends[part]) - begin

    def check(self, block: bytes, part: int) -> None:
        """Check the bytes that `range_of` names. Raises CorruptSegment."""
        if len(block) != self.range_of(part)[1] or xxhash.xxh3_128_digest(block) != self.digests[part]:
            raise CorruptSegment(f"{self.name}: the rows of part {part} do not match their digest")


def has_groups(plan: Plan) -> bool:
    """Whether the workers that decide on the plan exchange ids: if there are several."""
    return plan.parts > 1 and len(set(plan.resolvers)) > 1


class Groups(NamedTuple):
    """The shards of each group, and the worker that reads each. The second is advice."""

    shards: list[list[str]]
    takers: tuple[str, ...]


def groups_of(plan: Plan) -> Groups:
    """The groups of a plan: by ranges, where these are about as even as groups by parts are, and each worker's memory
    holds the ids of one. A shard that several ranges share is in the group of the first of them.
    """
    shards = sorted(plan.shards)
    if plan.cuts:
        several: list[list[str]] = [[] for _ in range(plan.ranges)]
        segments = [0] * plan.ranges
        for shard in shards:
            first, to = plan.shards[shard].first, plan.shards[shard].to
            number = shared_range(plan, (shard, first))
            several[number].append(shard)
            segments[number] += max(0, to + 1 - first)
        if max(segments) * plan.parts <= _UNEVEN * sum(segments):
            return Groups(several, plan.takers or ())
    return Groups([shards[group :: plan.parts] for group in range(plan.parts)], plan.resolvers)


def shards_of(plan: Plan, group: int) -> list[str]:
    """The shards of a group."""
    return groups_of(plan).shards[group]


def encode_group(plan: Plan, group: int, runs: PlanRuns, blocks: Mapping[tuple[str, int], bytes]) -> bytes:
    """The file. `runs` are those of the group's shards, and `blocks` has the ids of each segment."""
    counts = np.zeros((plan.parts, len(runs.table)), dtype=np.uint32)
    for at, (words, _) in enumerate(words_of(runs, blocks)):
        counts[:, at] = np.bincount(_parts(words, plan.parts), minlength=plan.parts)
    ends = np.cumsum(counts, dtype=np.int64).reshape(counts.shape)
    rows = np.empty(int(counts.sum(dtype=np.int64)), dtype=ROW)
    for at, (words, numbers) in enumerate(words_of(runs, blocks)):
        order = np.argsort(_parts(words, plan.parts), kind="stable")
        count = counts[:, at].astype(np.int64)
        place = _places(ends[:, at] - count, count)
        rows["high"][place], rows["low"][place], rows["row"][place] = words[order, 0], words[order, 1], numbers[order]
    packed = rows.view(np.uint8).data
    bounds = np.concatenate(([0], ends[:, -1])) * ROW.itemsize if counts.size else np.zeros(plan.parts + 1, np.int64)
    digests = [xxhash.xxh3_128_digest(packed[bounds[part] : bounds[part + 1]]) for part in range(plan.parts)]
    document = _Document(k=plan.k, group=group, parts=plan.parts, runs=len(runs.table), made_of=_made_of(plan, group))
    binary = b"".join([runs.table.tobytes(), counts.astype("<u4").tobytes(), *digests])
    whole = b"".join([struct.pack("<I", len(binary)), binary, msgspec.json.encode(document)])
    return b"".join((packed, whole, GROUP_TRAILER.of(whole, VERSION)))


def read_group(tail: bytes, plan: Plan, group: int, name: str) -> GroupIds:
    """The file from a tail of at least `GROUP_TRAILER.length` bytes.

    Raises CorruptSegment if a byte was changed or it was made of other segments than the plan's, OtherVersion.
    """
    whole, _ = GROUP_TRAILER.body(tail, name)
    (binary,) = struct.unpack_from("<I", whole)
    document = msgspec.json.decode(whole[4 + binary :], type=_Document)
    wanted = (plan.k, group, plan.parts, _made_of(plan, group))
    if (document.k, document.group, document.parts, document.made_of) != wanted:
        raise CorruptSegment(f"{name}: was made of other segments than the plan's")
    runs = np.frombuffer(whole, dtype=RUN, count=document.runs, offset=4)
    counts = np.frombuffer(whole, dtype="<u4", count=plan.parts * len(runs), offset=4 + runs.nbytes)
    at = 4 + runs.nbytes + counts.nbytes
    digests = [whole[begin : begin + 16] for begin in range(at, at + 16 * plan.parts, 16)]
    return GroupIds(runs, counts.reshape(plan.parts, len(runs)), digests, name)


def merged(plan: Plan, files: Sequence[GroupIds], blocks: list[bytes], part: int) -> tuple[PlanRuns, Rows]:
    """The runs of the plan and its rows in a part, both in order, from the files of all groups.

    `blocks` has the part's rows of each file; it is empty afterwards.
    """
    table = np.concatenate([file.runs for file in files])
    order = _order(table)
    run = np.empty(len(order), dtype=np.int64)
    run[order] = np.arange(len(order))
    counts = np.concatenate([file.counts[part] for file in files]).astype(np.int64)
    begins = (np.cumsum(counts[order]) - counts[order])[run]
    most = int(counts.sum())
    found = Rows(
        np.empty(most, dtype=np.uint64),
        np.empty(most, dtype=np.uint64),
        np.empty(most, dtype=np.uint32),
        np.empty(most, dtype=np.uint32),
    )
    first = 0
    for file in files:
        its = slice(first, first + len(file.runs))
        rows, place = np.frombuffer(blocks.pop(0), dtype=ROW), _places(begins[its], counts[its])
        found.high[place], found.low[place], found.row[place] = rows["high"], rows["low"], rows["row"]
        found.run[place] = np.repeat(run[its], counts[its])
        first = its.stop
    return PlanRuns(sorted(plan.shards), table[order], [], []), found


def _order(table: RunTable) -> NDArray[np.int64]:
    """The indices that put runs in order."""
    return np.lexsort((table["n"], table["shard"], table["period"]))


def _parts(words: NDArray[np.uint64], parts: int) -> NDArray[np.uint16]:
    return part_of(words[:, 0].astype(np.uint64), parts).astype(np.uint16)


def _places(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices of several runs, concatenated: each begins at `begins` and has `counts` rows."""
    return np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))


def _made_of(plan: Plan, group: int) -> bytes:
    """A digest of what the file follows from. The digest of a log's last segment covers those before it."""
    entries = [(shard, plan.shards[shard]) for shard in shards_of(plan, group)]
    segments = [(shard, entry.first, entry.to, entry.digest) for shard, entry in entries]
    return xxhash.xxh3_128_digest(msgspec.json.encode((plan.after, plan.upto, segments)))

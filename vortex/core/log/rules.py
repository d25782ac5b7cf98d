"""The rules of a shard log: how segments follow each other, and how the logs of children start.

Everything a worker knows about a shard is a function of its log; these are the functions.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.log.index import PeriodSize, heavy_of, sizes_of
from vortex.core.log.segment import Footer, empty_footer
from vortex.core.model import Position, ShardInfo, Start

_DIGITS = 12
_SEGMENT = re.compile(rf"/(\d{{{_DIGITS}}})\.seg$")


class BrokenLog(Exception):
    """A log with a hole, a wrong `prev`, or a state that goes back: it must not be continued."""


class Damaged(BrokenLog):
    """A state document that cannot be read: it was overwritten, or the store returns wrong bytes."""


LEAST_KEEP_MS = 20 * 60_000
"""Segments are kept as long as this at least, whatever a worker's settings say.

So a worker whose log was at its end half of this time ago knows that no number after it was used and freed since, by
whatever worker: workers may have different settings, for example while a fleet is changed.
"""

STATE_VERSION = 2
"""Version 1 has a different name for `closed_before`."""


class RootStart(msgspec.Struct, frozen=True):
    """The start position of a root shard."""

    shard: ShardInfo
    position: Position


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """`stream.json`: fixed at the first start. `seed` is the key of the deduplication hashes."""

    stream: str
    arn: str
    created: int
    roots: tuple[RootStart, ...]
    closed_before: int
    first_hour: int
    seed: int
    version: int = STATE_VERSION


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """A segment by number and digest, which the next segment of its log must follow."""

    shard: str
    n: int
    digest: str


def log_start(shard: str) -> SegmentRef:
    """The reference that segment 0 of a log follows."""
    return SegmentRef(shard, -1, "")


@dataclass(frozen=True, slots=True)
class SegmentHeader(SegmentRef):
    """A segment of a log, with its footer. `known` are the sizes of its periods where its index is left out, and
    `known_heavy` its large folders. `ids`: its id block, checked, where the read of the footer brought it along.
    """

    footer: Footer
    known: tuple[PeriodSize, ...] | None = field(default=None, compare=False)
    known_heavy: NDArray[np.void] | None = field(default=None, compare=False)
    ids: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def sizes(self) -> tuple[PeriodSize, ...]:
        """The sizes of its periods."""
        return sizes_of(self.footer) if self.known is None else self.known

    @property
    def heavy(self) -> NDArray[np.void]:
        """The folders that have a large part of it, as `heavy_of`."""
        return heavy_of(self.footer) if self.known_heavy is None else self.known_heavy

    @property
    def has_index(self) -> bool:
        """Whether its footer has the index of members."""
        return bool(self.footer.members) or not self.footer.data_bytes

    def without_index(self) -> SegmentHeader:
        """The same, without the index and the ids: they may be larger than everything else together."""
        footer = msgspec.structs.replace(self.footer, folders=[], members=b"")
        return SegmentHeader(self.shard, self.n, self.digest, footer, self.sizes, self.heavy)


def stream_root(name: str, created_ms: int) -> str:
    """The stream's folder; its creation time separates it from recreated streams of this name."""
    return f"_vortex/{name}@{created_ms // 1000}"


def segment_key(root: str, shard: str, n: int) -> str:
    """The key of segment n, zero-padded so that listings are in order."""
    return f"{root}/shards/{shard}/{n:0{_DIGITS}d}.seg"


def segment_number(key: str) -> int | None:
    """The n in a segment's key; None for any other key."""
    found = _SEGMENT.search(key)
    return int(found[1]) if found else None


def check_follows(before: SegmentRef, after: SegmentHeader, root: str) -> None:
    """Raises BrokenLog unless `after` was committed after `before`."""
    footer = after.footer
    name = segment_key(root, after.shard, after.n)
    if footer.n != after.n or footer.shard != after.shard:
        raise BrokenLog(f"{name}: its footer is of segment {footer.n} of {footer.shard}")
    if after.n != before.n + 1 or footer.prev != before.digest:
        raise BrokenLog(f"{name}: does not follow segment {before.n} ({before.digest or 'none'})")
    if not isinstance(before, SegmentHeader):
        return
    earlier = before.footer
    if earlier.ended:
        raise BrokenLog(f"{name}: comes after the end of its log")
    if footer.watermark < earlier.watermark or footer.closed_before < earlier.closed_before:
        raise BrokenLog(f"{name}: watermark or closed_before goes back")
    if footer.start != earlier.position:
        raise BrokenLog(f"{name}: starts at {footer.start.value!r}, not at {earlier.position.value!r}")


def first_footer(
    shard: ShardInfo,
    position: Position,
    watermark: int,
    closed_before: int,
    *,
    owner: str,
    created: int,
) -> Footer:
    """An empty segment 0: of a child, or of a log that must exist before it is advanced."""
    return empty_footer(
        shard.id, owner=owner, created=created, position=position, watermark=watermark, closed_before=closed_before
    )


def successors(
    gone: ShardInfo, listed: Iterable[ShardInfo], live: Mapping[str, ShardInfo], ended: Container[str]
) -> tuple[ShardInfo, ...]:
    """The successors of a shard that the stream no longer lists, which together cover its whole hash range.

    `live` are the shards whose logs have not ended, including `gone`, and their waiting children; `ended` are the
    shards with ended logs, which succeed nothing. Successors are the children of `gone`, including those named by the
    log of another parent. Where a child is not listed any more, the oldest listed shards of its range take its place. A
    successor with an unlisted parent waits for every live log that overlaps its hash range, so every worker computes
    the same parents, and no successor starts before one of these logs has ended.
    """
    listed = list(listed)
    known = {shard.id for shard in listed} | set(live)
    named = {shard.id: shard for shard in live.values() if gone.id in shard.parents}
    found = dict(named)
    for shard in listed:
        child = gone.id in shard.parents
        oldest = _overlap(shard, gone) and known.isdisjoint(shard.parents)
        if shard.id in ended:
            continue
        if child or (oldest and not any(_overlap(shard, other) for other in named.values())):
            waits = tuple(sorted(log for log, other in live.items() if log != shard.id and _overlap(other, shard)))
            whole = known.issuperset(shard.parents)
            successor = shard if whole else msgspec.structs.replace(shard, parents=waits)
            found.setdefault(shard.id, live.get(shard.id, successor))
    return tuple(shard for _, shard in sorted(found.items()))


def _overlap(one: ShardInfo, other: ShardInfo) -> bool:
    return one.start_hash <= other.end_hash and other.start_hash <= one.end_hash


def child_position(parents: Sequence[Footer]) -> Position:
    """The start position of a child: its oldest record, since ChildShards does not name its first one.

    If the stream starts at a time (`latest`) and nothing was read of any parent, it is that time: the child may be
    older.
    """
    positions = [parent.position for parent in parents]
    if all(position.kind is Start.AT_TIMESTAMP for position in positions):
        return positions[0]
    return Position(Start.TRIM_HORIZON)


def child_state(parents: Sequence[Footer]) -> tuple[int, int]:
    """A child's first watermark (the smallest of its parents') and closed_before (the largest of its parents')."""
    return min(p.watermark for p in parents), max(p.closed_before for p in parents)


def advanced(head: SegmentHeader, closed_before: int, *, owner: str, created: int) -> Footer:
    """A segment that only advances `closed_before`; position and watermark are the head's.

    Raises BrokenLog for an ended log, which must not be advanced.
    """
    footer = head.footer
    if footer.ended:
        raise BrokenLog(f"shard {head.shard}: its log has ended and cannot be advanced")
    empty = empty_footer(
        head.shard,
        head.n + 1,
        head.digest,
        owner=owner,
        created=created,
        position=footer.position,
        watermark=footer.watermark,
        closed_before=max(footer.closed_before, closed_before),
    )
    return msgspec.structs.replace(empty, advances=True, settings=footer.settings, version=footer.version)

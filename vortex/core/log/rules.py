"""The rules of a shard log: how heads follow each other, how children begin.

Everything a worker knows of a shard is a function of its log; these are those functions.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from vortex.core.log.segment import Footer, empty_footer
from vortex.core.model import Position, ShardInfo, Start

_DIGITS = 12
_SEGMENT = re.compile(rf"/(\d{{{_DIGITS}}})\.seg$")


class BrokenLog(Exception):
    """A log with a hole, a wrong `prev`, or a state that goes back: nothing may be built on it."""


class Damaged(BrokenLog):
    """A document of the state that cannot be read: somebody wrote over it, or the store gives back other bytes."""


STATE_VERSION = 2
"""Version 1 has another name for `closed_before`."""


class RootStart(msgspec.Struct, frozen=True):
    """Where a root shard begins."""

    shard: ShardInfo
    position: Position


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """`stream.json`: fixed once, at first start. `seed` keys the deduplication hashes."""

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
    """A segment by number and digest: what the next one of its log must follow."""

    shard: str
    n: int
    digest: str


def before_all(shard: str) -> SegmentRef:
    """What segment 0 of a log follows."""
    return SegmentRef(shard, -1, "")


@dataclass(frozen=True, slots=True)
class SegmentHeader(SegmentRef):
    """A segment as the log holds it."""

    footer: Footer


def stream_root(name: str, created_ms: int) -> str:
    """The stream's folder; its creation time keeps a recreated stream apart."""
    return f"_vortex/{name}@{created_ms // 1000}"


def segment_key(root: str, shard: str, n: int) -> str:
    """The key of segment n; zero-padded so that listings are in order."""
    return f"{root}/shards/{shard}/{n:0{_DIGITS}d}.seg"


def segment_number(key: str) -> int | None:
    """The n in a segment's key; None for any other key."""
    found = _SEGMENT.search(key)
    return int(found[1]) if found else None


def check_follows(before: SegmentRef, after: SegmentHeader, root: str) -> None:
    """Raises BrokenLog unless `after` is what was committed upon `before`."""
    footer = after.footer
    name = segment_key(root, after.shard, after.n)
    if footer.n != after.n or footer.shard != after.shard:
        raise BrokenLog(f"{name}: says it is segment {footer.n} of {footer.shard}")
    if after.n != before.n + 1 or footer.prev != before.digest:
        raise BrokenLog(f"{name}: does not follow segment {before.n} ({before.digest or 'none'})")
    if not isinstance(before, SegmentHeader):
        return
    earlier = before.footer
    if earlier.ended:
        raise BrokenLog(f"{name}: follows the end of its log")
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
    """Segment 0 where it is empty: a child's, or one that must exist before it is advanced."""
    return empty_footer(
        shard.id, owner=owner, created=created, position=position, watermark=watermark, closed_before=closed_before
    )


def successors(
    gone: ShardInfo, listed: Iterable[ShardInfo], live: Mapping[str, ShardInfo], ended: Container[str]
) -> tuple[ShardInfo, ...]:
    """Who follows a shard that the stream no longer lists, so that no part of its range is left to nobody.

    `live` are the shards whose logs have not ended, `gone` among them, and the children that wait for them; `ended`
    those whose logs have: they follow nobody any more. What follows are its children, those that another parent's log
    has named included; and where one of them is no longer listed either, the oldest listed shards of its range. Of whom
    a parent is unknown, that one waits for every live log of its range: all who look name the same, so none begins
    before one of them has ended.
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
    """Where a child begins: at its oldest record, for ChildShards does not tell its first one.

    Where the stream begins at a time (`latest`) and nothing was read of any parent, the child may be older than that.
    """
    positions = [parent.position for parent in parents]
    if all(position.kind is Start.AT_TIMESTAMP for position in positions):
        return positions[0]
    return Position(Start.TRIM_HORIZON)


def child_state(parents: Sequence[Footer]) -> tuple[int, int]:
    """A child's first watermark (the least) and closed_before (the greatest of its parents')."""
    return min(p.watermark for p in parents), max(p.closed_before for p in parents)


def advanced(head: SegmentHeader, closed_before: int, *, owner: str, created: int) -> Footer:
    """The segment that only moves `closed_before`; position and watermark are the head's.

    Raises BrokenLog for an ended log, which may not be moved.
    """
    footer = head.footer
    if footer.ended:
        raise BrokenLog(f"shard {head.shard}: its log has ended, there is nothing to move")
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

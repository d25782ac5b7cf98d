"""What a process takes in memory, and the limit that `memory.limit = "auto"` sets by it.

`vortex plan`, the Helm chart and a running worker go by this one formula; docs/how-to/size.md has it as a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.ingest.filter import MOST_KEYS

MIB = 1 << 20
PROCESS_BYTES = 150 * MIB
SUPERVISOR_BYTES = 96 * MIB
"""Of `vortex run --processes`, beside its workers."""
PAGES_BYTES = 80 * MIB
"""Pages on their way, and copies, beside the room for large work."""
FILTER_BYTES = 2 * MOST_KEYS * 64
"""Of a shard."""
ROOM_LEAST, ROOM_MOST = 96 * MIB, 432 * MIB
"""Bytes for large work in a process. The least is for two batches that are built and two that are put, or for a record
of 64 MiB; larger work is done alone.
"""
ROOM_SHARE = 4
"""The part of memory.limit that is for large work."""
LEAST_AUTO = 256 * MIB
"""The least limit that "auto" sets: a worker with few shards catches up with it as fast as with more."""
LINES_BYTES_S = 1_150_000
"""Memory of the lines that a shard takes in a second at most. AWS accepts 1 MB/s, which is 1.04 MB in memory as lines
of 1 KB, and 1.17 MB as lines of 200 bytes. (Compressed records bring more; their shards commit earlier.)
https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""


def room_bytes(limit: int) -> int:
    """The bytes for large work by the limit. A large folder is published faster with more."""
    return max(ROOM_LEAST, min(ROOM_MOST, limit // ROOM_SHARE))


def process_bytes(limit: int, keys: int, shards: int) -> int:
    """Bytes of one process with this limit and this memory.keys that reads so many shards."""
    return PROCESS_BYTES + limit + room_bytes(limit) + PAGES_BYTES + keys + shards * FILTER_BYTES


def limit_within(usable: int, keys: int, shards: int) -> int:
    """The largest limit with which `process_bytes` is at most `usable`; below 1 if there is none."""
    left = usable - PROCESS_BYTES - PAGES_BYTES - keys - shards * FILTER_BYTES
    return left - max(ROOM_LEAST, min(ROOM_MOST, (left + 1) // (ROOM_SHARE + 1)))


def shard_bytes(commit_ms: int, most: int) -> int:
    """What a shard gathers at most between two commits: in so many milliseconds, or `most` bytes (commit.max_bytes)."""
    return min(most, commit_ms * LINES_BYTES_S // 1000)


def part_of(usable: int, processes: int) -> int:
    """The bytes of each of so many processes, if together with their supervisor they may use `usable` bytes."""
    return usable if processes < 2 else max(0, usable - SUPERVISOR_BYTES) // processes


@dataclass(frozen=True, slots=True)
class AutoLimit:
    """The limit by the number of shards that are read at their tip: what they gather, as far as the memory goes.

    Every shard that is held has a filter, also one that is behind.
    """

    shard: int
    """`shard_bytes`."""
    keys: int
    """memory.keys."""
    usable: int
    """Bytes that the process may use."""

    def __call__(self, at_tip: int, held: int) -> int:
        """The limit in bytes with so many shards at their tip, of those that are held."""
        return max(LEAST_AUTO, min(at_tip * self.shard, limit_within(self.usable, self.keys, held)))

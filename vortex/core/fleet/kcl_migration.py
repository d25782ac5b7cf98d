"""Start positions of a stream that a KCL application has read before, from its lease table.

The KCL keeps a row for a shard from when it may be read until it was read and its children have started; then it
deletes the row. So a shard without a row, but with a descendant that has one, is done. A checkpoint (sequence, sub)
means that the sub-records 0..sub of that record were processed; a plain record counts as its own sub-record 0.
Source: HierarchicalShardSyncer, LeaseCleanupManager, ProcessTask.filterAndGetMaxExtendedSequenceNumber of
https://github.com/awslabs/amazon-kinesis-client.
"""

from __future__ import annotations

from collections.abc import Iterable

from vortex.core.fleet.lease import AT_TIMESTAMP, LATEST, Checkpoint, Lease
from vortex.core.log.rules import RootStart
from vortex.core.model import Position, ShardInfo, Start


def inherited(
    shards: Iterable[ShardInfo], leases: Iterable[Lease], *, otherwise: Position, now_ms: int
) -> tuple[RootStart, ...]:
    """The roots and their start positions. Empty if nothing is inherited: no lease matches a listed shard, or a lease
    contradicts its shard (the table is older than a re-created stream).

    A root is a shard that is not done and whose listed parents are all done. `otherwise` is the position for a shard
    whose position the table does not give; `now_ms` is the service's time. A done parent is a root, too, at its end
    (LATEST, which is fixed in a closed shard), if its child of a merge waits for the other parent: that child then
    starts as any child does.
    """
    listed = {shard.id: shard for shard in shards}
    rows = {lease.key: lease for lease in leases if lease.key in listed}
    closed = {name for name, shard in listed.items() if shard.end_sequence is not None} | _ancestors(listed, listed)
    if not all(_fits(lease.checkpoint, listed[name], name in closed) for name, lease in rows.items()) or not rows:
        return ()
    behind = _ancestors(listed, rows)
    done = {n for n in listed if (rows[n].checkpoint.ended if n in rows else n in behind)}
    todo = {name: [p for p in shard.parents if p in listed] for name, shard in listed.items() if name not in done}
    starts: dict[str, Position] = {}
    for name, parents in todo.items():
        if not all(parent in done for parent in parents):
            ends = [parent for parent in parents if parent in done]
            starts.update((parent, Position(Start.LATEST)) for parent in ends)
        elif name in rows:
            starts[name] = _position(rows[name].checkpoint, otherwise, now_ms)
        else:
            starts[name] = Position(Start.TRIM_HORIZON) if parents else otherwise
    return tuple(RootStart(listed[name], starts[name]) for name in sorted(starts))


def _fits(checkpoint: Checkpoint, shard: ShardInfo, closed: bool) -> bool:
    """Whether the checkpoint can be of this shard. A new stream reuses shard ids; sequence numbers keep growing."""
    if checkpoint.ended:
        return closed
    first = Checkpoint(shard.start_sequence)
    return not (checkpoint.numbered and first.numbered) or int(checkpoint.sequence) >= int(first.sequence)


def _ancestors(listed: dict[str, ShardInfo], of: Iterable[str]) -> set[str]:
    """All listed ancestors of `of`."""
    found: set[str] = set()
    todo = list(of)
    while todo:
        parents = [p for p in listed[todo.pop()].parents if p in listed and p not in found]
        found.update(parents)
        todo += parents
    return found


def _position(checkpoint: Checkpoint, otherwise: Position, now_ms: int) -> Position:
    """Where a shard with this checkpoint continues. The table does not contain the time of an AT_TIMESTAMP."""
    if checkpoint.numbered:
        return Position(Start.AT_SEQUENCE_NUMBER, checkpoint.sequence, skip=checkpoint.sub + 1)
    if checkpoint.sequence == LATEST:
        return Position(Start.AT_TIMESTAMP, str(now_ms))
    return otherwise if checkpoint.sequence == AT_TIMESTAMP else Position(Start.TRIM_HORIZON)

"""Where a stream begins that a KCL application has read before: its lease table says so.

The KCL keeps a row for a shard from when it may be read until it was read and its children have begun; then the row
goes. So what has no row, but a descendant with one, is done. A checkpoint (sequence, sub) means that the sub-records
0..sub of that record were taken, the others not; a plain record counts as its own sub-record 0.
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
    """The roots and where each starts; none where nothing is inherited: no lease is of a listed shard, or one cannot
    be of the shard that has its name now, so that the table is from before the stream was deleted and made anew.

    A root is a shard that is not done, all of whose listed parents are. `otherwise` is for a shard of which the table
    does not tell where it begins; `now_ms` the service's clock. A shard that is done, but whose child (of a merge)
    waits for its other parent, is a root as well, at its end (closed, it has a LATEST that stays): that child then
    begins as any child does.
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
    """Whether the checkpoint can be of this shard: shard ids begin again in a new stream, sequence numbers go on."""
    if checkpoint.ended:
        return closed
    return not (checkpoint.numbered and shard.start_sequence) or int(checkpoint.sequence) >= int(shard.start_sequence)


def _ancestors(listed: dict[str, ShardInfo], of: Iterable[str]) -> set[str]:
    """The listed parents of `of`, and theirs, up to the oldest."""
    found: set[str] = set()
    todo = list(of)
    while todo:
        parents = [p for p in listed[todo.pop()].parents if p in listed and p not in found]
        found.update(parents)
        todo += parents
    return found


def _position(checkpoint: Checkpoint, otherwise: Position, now_ms: int) -> Position:
    """Where a shard with this checkpoint goes on. The time of an AT_TIMESTAMP is not in the table."""
    if checkpoint.numbered:
        return Position(Start.AT_SEQUENCE_NUMBER, checkpoint.sequence, taken=checkpoint.sub + 1)
    if checkpoint.sequence == LATEST:
        return Position(Start.AT_TIMESTAMP, str(now_ms))
    return otherwise if checkpoint.sequence == AT_TIMESTAMP else Position(Start.TRIM_HORIZON)

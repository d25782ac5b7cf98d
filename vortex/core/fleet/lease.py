"""A lease: one row of a table that the Kinesis Client Library (KCL) can read, too; and what each write makes of a row.

A lease says who should work on a shard. It saves effort and decides nothing about correctness: that is the log's.
`counter` is the heartbeat and the optimistic lock of every conditional write; `token` names one acquisition, so that
an owner's heartbeat does not look like a loss to that same owner's checkpoint.

The transitions are those of the KCL 2.x (DynamoDBLeaseRefresher, DynamoDBLeaseSerializer):
https://github.com/awslabs/amazon-kinesis-client/tree/master/amazon-kinesis-client/src/main/java/software/amazon/kinesis/leases/dynamodb
"""

from __future__ import annotations

import msgspec

from vortex.core.model import Position

TRIM_HORIZON = "TRIM_HORIZON"
LATEST = "LATEST"
AT_TIMESTAMP = "AT_TIMESTAMP"
SHARD_END = "SHARD_END"
_DIGITS = 200
"""Of a sequence number, those of Kinesis have 56."""


WHOLE = 2**31 - 1
"""A sub-sequence number beyond any sub-record: all of the record was taken, however many it holds."""


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a shard was processed.

    `sequence` is the sequence number of the last record taken, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END.
    `sub` is the last sub-record taken, from 0, where that record is a KPL aggregate; 0 of a plain record. What Vortex
    commits ends with a whole record: WHOLE.
    """

    sequence: str
    sub: int = 0

    @property
    def ended(self) -> bool:
        """Whether the shard was read to its end."""
        return self.sequence == SHARD_END

    @property
    def numbered(self) -> bool:
        """Whether `sequence` is a sequence number, so that something was taken."""
        return self.sequence.isascii() and self.sequence.isdigit() and len(self.sequence) <= _DIGITS


def checkpoint_of(position: Position, *, ended: bool = False) -> Checkpoint:
    """What a committed position is to the KCL: a consumer that begins at it reads nothing again, and misses nothing.

    A position that is a time is no checkpoint of the KCL's; it begins at the oldest record then.
    """
    if ended:
        return Checkpoint(SHARD_END)
    if not position.by_record:
        return Checkpoint(TRIM_HORIZON)
    return Checkpoint(position.value, position.taken - 1 if position.taken else WHOLE)


class Lease(msgspec.Struct, frozen=True):
    """One row as it was when read or written. `key` is the shard's id; without an owner it is free.

    `start_hash` and `end_hash` are the shard's range of hash keys, both inclusive; None where the row does not tell.
    `throughput` is what the owner measured, kilobytes a second (an attribute of the KCL 3.x); None: not measured.
    `stream` is the creation time of the stream whose shard it is, epoch milliseconds; 0 where the row does not tell, as
    the KCL's do not. A stream that is deleted and made anew begins its shard ids again.
    `previous_owner` is the one that it was taken from, until that one has committed and released it (`checkpointOwner`
    of the KCL 3.x): who took it waits for that for a while, so that nothing is read twice.
    """

    key: str
    owner: str | None
    counter: int
    checkpoint: Checkpoint
    switches: int = 0
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    start_hash: int | None = None
    end_hash: int | None = None
    token: str = ""
    throughput: float | None = None
    previous_owner: str | None = None
    stream: int = 0


def of_earlier_stream(lease: Lease, stream: int) -> bool:
    """Whether the row is of an earlier stream of the same name, and so counts as absent."""
    return bool(lease.stream and stream) and lease.stream != stream


def same_acquisition(lease: Lease, found: Lease) -> bool:
    """Whether `found` still belongs to the acquisition that `lease` came from, whatever its heartbeat did since."""
    return lease.owner is not None and (found.owner, found.token) == (lease.owner, lease.token)


def renewed(lease: Lease) -> Lease:
    """After a heartbeat."""
    return msgspec.structs.replace(lease, counter=lease.counter + 1)


def taken(lease: Lease, owner: str, token: str) -> Lease:
    """After `owner` took it, free or not; a change from one owner to another counts as a switch, and has a giver."""
    switched = lease.owner is not None and lease.owner != owner
    return msgspec.structs.replace(
        lease,
        owner=owner,
        token=token,
        counter=lease.counter + 1,
        switches=lease.switches + switched,
        previous_owner=lease.owner if switched else None,
    )


def checkpointed(lease: Lease, checkpoint: Checkpoint, children: tuple[str, ...] = ()) -> Lease:
    """After its owner told how far it is; `children` are those that follow an ended shard."""
    return msgspec.structs.replace(
        lease,
        counter=lease.counter + 1,
        checkpoint=checkpoint,
        switches=0,
        children=tuple(sorted(children)) or lease.children,
    )


def released(lease: Lease) -> Lease:
    """After its owner gave it up."""
    return msgspec.structs.replace(lease, owner=None, token="", counter=lease.counter + 1, previous_owner=None)


def handed_over(lease: Lease) -> Lease:
    """After the one that it was taken from has committed; no heartbeat, so the counter stays."""
    return msgspec.structs.replace(lease, previous_owner=None)

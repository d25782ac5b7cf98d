"""A lease: one row of a table that the Kinesis Client Library (KCL) can also read, and its state transitions.

A lease says who should work on a shard. It saves effort; correctness does not depend on it, only on the log. `counter`
is the heartbeat and the optimistic lock of every conditional write. `token` identifies one acquisition: it shows the
owner that a counter changed by its own heartbeat, and not by another owner.

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
"""Maximum digits of a sequence number; those of Kinesis have 56."""


WHOLE = 2**31 - 1
"""A sub-sequence number larger than any: all sub-records of the record were processed."""


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a shard was processed.

    `sequence` is the sequence number of the last processed record, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END.
    `sub` is the index of the last processed sub-record if that record is a KPL aggregate; 0 for a plain record. Vortex
    commits only whole records: WHOLE.
    """

    sequence: str
    sub: int = 0

    @property
    def ended(self) -> bool:
        """Whether the shard was read to its end."""
        return self.sequence == SHARD_END

    @property
    def numbered(self) -> bool:
        """Whether `sequence` is a sequence number, so that a record was processed."""
        return self.sequence.isascii() and self.sequence.isdigit() and len(self.sequence) <= _DIGITS


def checkpoint_of(position: Position, *, ended: bool = False) -> Checkpoint:
    """A committed position as a KCL checkpoint: a consumer that starts there repeats nothing and misses nothing.

    The KCL has no checkpoint for a time; such a position becomes the oldest record.
    """
    if ended:
        return Checkpoint(SHARD_END)
    if not position.by_record:
        return Checkpoint(TRIM_HORIZON)
    return Checkpoint(position.value, position.skip - 1 if position.skip else WHOLE)


class Lease(msgspec.Struct, frozen=True):
    """One row as read or written. `key` is the shard's id; a lease without an owner is free.

    `start_hash` and `end_hash` are the shard's hash key range, both inclusive; None if the row has none. `throughput`
    is measured by the owner, in KB/s (an attribute of the KCL 3.x); None: not measured. `stream` is the creation time
    of the shard's stream, epoch milliseconds; 0 if the row has none, as rows of the KCL: a stream that is deleted and
    created again reuses its shard ids. `store` names the store that the row serves (`StoreMark.text`); empty in rows of
    the KCL and of earlier versions. `previous_owner` is the worker from which the lease was taken, until that worker
    has committed and released it (`checkpointOwner` of the KCL 3.x). The new owner waits for this for a while, so that
    nothing is read twice.
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
    store: str = ""


def of_earlier_stream(lease: Lease, stream: int) -> bool:
    """Whether the row belongs to an earlier stream of the same name, and so counts as missing."""
    return bool(lease.stream and stream) and lease.stream != stream


def shared_token(owner: str, secret: str) -> str:
    """The token of an acquisition whose lease lives as long as any such lease of its owner is renewed."""
    return f"{owner}/{secret}"


def beats_together(lease: Lease) -> bool:
    """Whether the lease has a `shared_token` of its owner.

    Other programs keep or replace the token when they take a lease, so theirs never has one of the new owner.
    """
    return lease.owner is not None and lease.token.rpartition("/")[0] == lease.owner


def same_acquisition(lease: Lease, found: Lease) -> bool:
    """Whether `found` belongs to the same acquisition as `lease`, regardless of heartbeats in between."""
    return lease.owner is not None and (found.owner, found.token) == (lease.owner, lease.token)


def renewed(lease: Lease) -> Lease:
    """The lease after a heartbeat."""
    return msgspec.structs.replace(lease, counter=lease.counter + 1)


def taken(lease: Lease, owner: str, token: str) -> Lease:
    """The lease after `owner` took it. A change of owner counts as a switch and sets `previous_owner`."""
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
    """The lease after its owner wrote a checkpoint; `children` are those of an ended shard."""
    return msgspec.structs.replace(
        lease,
        counter=lease.counter + 1,
        checkpoint=checkpoint,
        switches=0,
        children=tuple(sorted(children)) or lease.children,
    )


def released(lease: Lease) -> Lease:
    """The lease after its owner released it."""
    return msgspec.structs.replace(lease, owner=None, token="", counter=lease.counter + 1, previous_owner=None)


def handed_over(lease: Lease) -> Lease:
    """The lease after the previous owner has committed. Not a heartbeat, so the counter stays."""
    return msgspec.structs.replace(lease, previous_owner=None)

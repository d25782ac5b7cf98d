"""A lease as a row of the table, in DynamoDB's JSON.

Attribute by attribute that of the Kinesis Client Library 2.x (and 3.x): DynamoDBLeaseSerializer of
https://github.com/awslabs/amazon-kinesis-client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.adapters.exchange import Malformed
from vortex.core.lease import Checkpoint, Lease

KEY = "leaseKey"
COUNTER = "leaseCounter"
OWNER = "leaseOwner"
SWITCHES = "ownerSwitchesSinceCheckpoint"
CHECKPOINT = "checkpoint"
SUB = "checkpointSubSequenceNumber"
PENDING = ("pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState")
PARENTS = "parentShardId"
CHILDREN = "childShardIds"
START_HASH = "startingHashKey"
END_HASH = "endingHashKey"
THROUGHPUT = "throughputKBps"  # from here on 3.x
GIVER = "checkpointOwner"
ENTITY = "entityType"
TOKEN = "vortexToken"  # this and the next are not the KCL's
STREAM = "vortexStreamCreated"

ATTRIBUTES = (OWNER, *PENDING, PARENTS, CHILDREN, START_HASH, END_HASH, THROUGHPUT, GIVER, TOKEN, STREAM)
"""What a row need not have."""

Value = dict[str, Any]
"""Of an attribute, with its type: `{"S": "text"}`, `{"N": "1"}`, `{"SS": ["a", "b"]}`."""


def row_of(item: Mapping[str, Value]) -> Lease | None:
    """`read_row`. Raises Malformed, which names the row, where an attribute is not of its type."""
    try:
        return read_row(item)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Malformed(f"row {str(item.get(KEY))[:100]}: {type(error).__name__}: {error}") from error


def read_row(item: Mapping[str, Value]) -> Lease | None:
    """A lease of a row in DynamoDB's JSON; None for a row of another entity (3.x), or without counter or checkpoint.

    Raises KeyError, TypeError, ValueError where an attribute is not of its type.
    """
    key = _str(item, KEY)
    if item.get(ENTITY, {"S": "LEASE"}).get("S") != "LEASE" or COUNTER not in item or CHECKPOINT not in item:
        return None
    return Lease(
        key=key,
        owner=_str(item, OWNER) if OWNER in item else None,
        counter=int(item[COUNTER]["N"]),
        checkpoint=Checkpoint(_str(item, CHECKPOINT), int(item[SUB]["N"]) if SUB in item else 0),
        switches=int(item[SWITCHES]["N"]) if SWITCHES in item else 0,
        parents=_strs(item, PARENTS),
        children=_strs(item, CHILDREN),
        start_hash=int(_str(item, START_HASH)) if START_HASH in item else None,
        end_hash=int(_str(item, END_HASH)) if END_HASH in item else None,
        token=_str(item, TOKEN) if TOKEN in item else "",
        throughput=float(item[THROUGHPUT]["N"]) if THROUGHPUT in item else None,
        giver=_str(item, GIVER) if GIVER in item else None,
        stream=int(item[STREAM]["N"]) if STREAM in item else 0,
    )


def write_row(lease: Lease) -> dict[str, Value]:
    """The row of a lease in DynamoDB's JSON, as the KCL would put it; what is not known is left out."""
    row = {
        KEY: text(lease.key),
        COUNTER: number(lease.counter),
        CHECKPOINT: text(lease.checkpoint.sequence),
        SUB: number(lease.checkpoint.sub),
        SWITCHES: number(lease.switches),
    }
    if lease.owner:
        row[OWNER] = text(lease.owner)
    if lease.token:
        row[TOKEN] = text(lease.token)
    if lease.parents:
        row[PARENTS] = texts(lease.parents)
    if lease.children:
        row[CHILDREN] = texts(lease.children)
    if lease.start_hash is not None and lease.end_hash is not None:
        row |= {START_HASH: text(str(lease.start_hash)), END_HASH: text(str(lease.end_hash))}
    if lease.throughput is not None:
        row[THROUGHPUT] = number(round(lease.throughput, 3))
    if lease.giver:
        row[GIVER] = text(lease.giver)
    if lease.stream:
        row[STREAM] = number(lease.stream)
    return row


def text(value: str) -> Value:
    """S."""
    return {"S": value}


def number(value: float) -> Value:
    """N."""
    return {"N": str(value)}


def texts(values: tuple[str, ...]) -> Value:
    """SS; DynamoDB refuses an empty one."""
    return {"SS": sorted(values)}


def _str(item: Mapping[str, Value], name: str) -> str:
    value = item[name]["S"]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _strs(item: Mapping[str, Value], name: str) -> tuple[str, ...]:
    values = item[name]["SS"] if name in item else []
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} is no set of texts")
    return tuple(sorted(values))

"""Converts a lease to and from a row of the lease table, in DynamoDB's JSON.

The attributes are those of the Kinesis Client Library 2.x (and 3.x): DynamoDBLeaseSerializer of
https://github.com/awslabs/amazon-kinesis-client.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from vortex.adapters.aws.exchange import Malformed
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.model import HASH_KEYS

T = TypeVar("T")
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
THROUGHPUT = "throughputKBps"  # this and the next two: KCL 3.x
PREVIOUS_OWNER = "checkpointOwner"
ENTITY = "entityType"
TOKEN = "vortexToken"  # this and the next two are Vortex's own
STREAM = "vortexStreamCreated"
STORE = "vortexStore"

ATTRIBUTES = (
    OWNER,
    *PENDING,
    PARENTS,
    CHILDREN,
    START_HASH,
    END_HASH,
    THROUGHPUT,
    PREVIOUS_OWNER,
    TOKEN,
    STREAM,
    STORE,
)
"""Optional attributes."""

Value = dict[str, Any]
"""The value of an attribute with its type: `{"S": "text"}`, `{"N": "1"}`, `{"SS": ["a", "b"]}`."""


_MOST = 10**18
"""Largest counter: adding 1 must stay a valid DynamoDB number (38 digits)."""


def row_of(item: Mapping[str, Value]) -> Lease | None:
    """`read_row`, but raises Malformed with the row's name where the row is invalid."""
    try:
        return read_row(item)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Malformed(f"row {str(item.get(KEY))[:100]}: {type(error).__name__}: {error}") from error


def read_row(item: Mapping[str, Value]) -> Lease | None:
    """The lease in a row in DynamoDB's JSON; None for a row of another entity (3.x), or without counter or checkpoint.

    Raises KeyError, TypeError, ValueError where key, counter, owner or checkpoint are invalid. Other invalid attributes
    count as missing: junk in a row must not keep its shard from being read.
    """
    key = _str(item, KEY)
    if item.get(ENTITY, {"S": "LEASE"}).get("S") != "LEASE" or COUNTER not in item or CHECKPOINT not in item:
        return None
    return Lease(
        key=key,
        owner=_str(item, OWNER) if OWNER in item else None,
        counter=_counter(item),
        checkpoint=Checkpoint(_str(item, CHECKPOINT), max(0, _perhaps(_int, item, SUB) or 0)),
        switches=max(0, _perhaps(_int, item, SWITCHES) or 0),
        parents=_perhaps(_strs, item, PARENTS) or (),
        children=_perhaps(_strs, item, CHILDREN) or (),
        start_hash=_perhaps(_hash, item, START_HASH),
        end_hash=_perhaps(_hash, item, END_HASH),
        token=_perhaps(_str, item, TOKEN) or "",
        throughput=_perhaps(_rate, item, THROUGHPUT),
        previous_owner=_perhaps(_str, item, PREVIOUS_OWNER),
        stream=_perhaps(_int, item, STREAM) or 0,
        store=_perhaps(_str, item, STORE) or "",
    )


def write_row(lease: Lease) -> dict[str, Value]:
    """The row of a lease in DynamoDB's JSON, as the KCL writes it, without unknown attributes."""
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
    if lease.previous_owner:
        row[PREVIOUS_OWNER] = text(lease.previous_owner)
    if lease.stream:
        row[STREAM] = number(lease.stream)
    if lease.store:
        row[STORE] = text(lease.store)
    return row


def text(value: str) -> Value:
    """A value of type S (string)."""
    return {"S": value}


def number(value: float) -> Value:
    """A value of type N (number)."""
    return {"N": str(value)}


def texts(values: tuple[str, ...]) -> Value:
    """A value of type SS (string set); DynamoDB refuses an empty one."""
    return {"SS": sorted(values)}


def same_value(found: Value | None, written: Value) -> bool:
    """Whether DynamoDB returned the value that was written: it may write a number in another form, a set in any order.

    Raises AttributeError, KeyError, TypeError, ValueError where the value is invalid.
    """
    if found is None:
        return False
    if "N" in written:
        return Decimal(found["N"]) == Decimal(written["N"])
    return found == written or ("SS" in written and set(found["SS"]) == set(written["SS"]))


def _perhaps(read: Callable[[Mapping[str, Value], str], T], item: Mapping[str, Value], name: str) -> T | None:
    """The attribute, as `read` reads it; None where it is missing or invalid."""
    try:
        return read(item, name)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _counter(item: Mapping[str, Value]) -> int:
    counter = _int(item, COUNTER)
    if abs(counter) > _MOST:
        raise ValueError(f"{COUNTER} is {counter}")
    return counter


def _int(item: Mapping[str, Value], name: str) -> int:
    return int(item[name]["N"])


def _hash(item: Mapping[str, Value], name: str) -> int:
    key = int(_str(item, name))
    if not 0 <= key < HASH_KEYS:
        raise ValueError(f"{name} is not a hash key")
    return key


def _rate(item: Mapping[str, Value], name: str) -> float:
    rate = float(item[name]["N"])
    if not 0 <= rate < math.inf:
        raise ValueError(f"{name} is not a valid rate")
    return rate


def _str(item: Mapping[str, Value], name: str) -> str:
    value = item[name]["S"]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    return value


def _strs(item: Mapping[str, Value], name: str) -> tuple[str, ...]:
    values = item[name]["SS"] if name in item else []
    if not all(isinstance(value, str) for value in values):
        raise Malformed(f"{name} is not a string set, though its type is SS")
    return tuple(sorted(values))

"""The data types of the stream: shards, positions, records, pages.

Times are integers, milliseconds since the Unix epoch, UTC. Nothing here does IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

HOUR_MS = 3_600_000
HASH_KEYS = 1 << 128
"""The number of hash keys, from 0 on, that the shards of a stream share."""


class Start(StrEnum):
    """Where reading starts; the names are those of the Kinesis API (GetShardIterator)."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"
    AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER"
    AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"


class Position(msgspec.Struct, frozen=True, omit_defaults=True, rename={"skip": "taken"}):
    """A position in a shard. `value` is a sequence number, or epoch milliseconds for AT_TIMESTAMP.

    `skip`, only with AT_SEQUENCE_NUMBER: how many user records of that record, an aggregate, to skip: another
    application has processed them. It comes only from a lease table; segments end at the end of a record.
    """

    kind: Start
    value: str = ""
    skip: int = 0

    @property
    def by_record(self) -> bool:
        """Whether the position refers to a record that was read, at least in part."""
        return self.kind is Start.AFTER_SEQUENCE_NUMBER or self.skip > 0


class ShardInfo(msgspec.Struct, frozen=True):
    """One shard as in ListShards or `ChildShards`.

    `parents` has two entries after a merge. `end_sequence` is None while the shard is open.
    """

    id: str
    parents: tuple[str, ...] = ()
    start_hash: int = 0
    end_hash: int = 0
    start_sequence: str = ""
    end_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What identifies a stream: a recreated stream has another `created_ms`."""

    name: str
    arn: str
    created_ms: int
    retention_ms: int


class Record(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"sequence": "SequenceNumber", "arrival": "ApproximateArrivalTimestamp", "data": "Data"},
):
    """A Kinesis record, with the wire names of GetRecords, so that a reply decodes directly into it.

    `arrival` is in seconds since the epoch (Kinesis gives no guarantee that it is accurate or increasing).
    """

    sequence: str
    arrival: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One GetRecords reply.

    `iterator` is None if the reply shows the end of the shard, and then `children` are its successors; an end must be
    confirmed (`vortex.ingest.reading`). `behind_ms` is MillisBehindLatest; `size` are the bytes of all data.
    `server_ms` is the reply's Date header. After comparison with other clocks (`vortex.runtime.trust`) it is the latest
    possible arrival time, and `reached_ms` the time that all clocks have reached: an empty shard is empty until then.
    """

    records: Sequence[Record]
    iterator: str | None
    behind_ms: int
    server_ms: int
    children: tuple[ShardInfo, ...] = ()
    size: int = 0
    reached_ms: int | None = None

    @property
    def empty_until(self) -> int:
        """The time, epoch milliseconds, before which nothing is left, according to an empty page at the tip."""
        return self.server_ms if self.reached_ms is None else self.reached_ms


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a listing. `modified_ms` is the store's own time."""

    key: str
    size: int
    modified_ms: int

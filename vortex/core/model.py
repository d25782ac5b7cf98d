"""The nouns of the stream side: shards, positions, records, pages.

Times are integers, milliseconds since the Unix epoch, UTC. Nothing here does IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

HOUR_MS = 3_600_000
HASH_KEYS = 1 << 128
"""So many hash keys the shards of a stream share: 0 and on."""


class Start(StrEnum):
    """Where reading begins; the names are those of the Kinesis API (GetShardIterator)."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"
    AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER"
    AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a shard. `value` is a sequence number, or epoch milliseconds for AT_TIMESTAMP.

    `taken`, with AT_SEQUENCE_NUMBER alone: how many sub-records of that record another application took before us. It
    only stands where a lease table told it; a segment ends at the end of a record.
    """

    kind: Start
    value: str = ""
    taken: int = 0

    @property
    def by_record(self) -> bool:
        """Whether it is told by a record that was read, wholly or in part, and not by a time or an end of the shard."""
        return self.kind is Start.AFTER_SEQUENCE_NUMBER or self.taken > 0


class ShardInfo(msgspec.Struct, frozen=True):
    """One shard as ListShards or `ChildShards` tells it.

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
    """A Kinesis record, named on the wire as in GetRecords so that a reply decodes straight into it.

    `arrival` is in seconds since the epoch (Kinesis gives no guarantee that it is accurate or increasing).
    """

    sequence: str
    arrival: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One GetRecords reply.

    `iterator` is None where the reply says that the shard has ended, and then `children` names what follows it; to be
    proved (`vortex.ingest.reading`). `behind_ms` is MillisBehindLatest; `size` the bytes of all data.
    `server_ms` is the reply's Date header. Held against other clocks (`vortex.runtime.trust`) it is the time beyond
    which no record can have arrived, and `reached_ms` the one that all clocks have reached: an empty shard is empty
    until then.
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
        """What an empty page at the tip proves that nothing came before, epoch milliseconds."""
        return self.server_ms if self.reached_ms is None else self.reached_ms


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a listing. `modified_ms` is the store's own time."""

    key: str
    size: int
    modified_ms: int

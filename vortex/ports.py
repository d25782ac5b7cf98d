"""The interfaces to the outside world, as Protocols; `adapters` and `simulation` implement them.

Errors are classified by what the caller must do, not by their origin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import ObjectInfo, Page, Position, ShardInfo, StreamInfo
from vortex.metrics import CounterMetric, GaugeMetric, HistogramMetric, Metric

T = TypeVar("T")


class PortError(Exception):
    """Base class of every error that a port raises. The message names the key, shard or setting."""


class Unavailable(PortError):
    """Throttled, timed out, 5xx, 409, connection lost, disk full: the outcome is unknown. Retry the same call."""

    def __init__(self, message: str, cause: str = "unavailable") -> None:
        super().__init__(message)
        self.cause = cause
        """A short fixed word for the retry metric, e.g. throttled, timeout, conflict, disk_full."""


class Denied(PortError):
    """Credentials, permissions, a missing stream or bucket: report an error, be unready, retry slowly."""


class NotFound(PortError):
    """The requested key or shard does not exist."""


class IteratorExpired(PortError):
    """The iterator is older than five minutes: request a new one after the last record read."""


class InvalidPosition(PortError):
    """The shard does not accept the sequence number or time."""


class NoRoom(PortError):
    """A scratch file cannot be made, written or read: continue without it."""


class Stream(Protocol):
    """One Kinesis stream, read shard by shard."""

    async def describe(self) -> StreamInfo:
        """Name, ARN, creation time and retention."""
        ...

    async def server_time(self) -> int:
        """The service's time, epoch milliseconds (from a reply's Date header)."""
        ...

    async def list_shards(self) -> list[ShardInfo]:
        """All shards that the service lists, including closed ones, without duplicates."""
        ...

    async def iterator(self, shard: str, position: Position) -> str | None:
        """An iterator, valid for five minutes. None if the reply has none, which proves nothing.

        Raises NotFound if the shard does not exist, InvalidPosition if it does not accept `position`.
        """
        ...

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """One GetRecords call: at most `limit` records and 10 MiB. Raises IteratorExpired, Unavailable, Denied."""
        ...


class PutOutcome(Enum):
    """What became of a record that was put on a stream."""

    SENT = "sent"
    BUSY = "busy"
    """Certainly not put, because the stream takes no more at the moment."""
    REFUSED = "refused"
    """Certainly not put."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PutResult:
    """`detail` is the sequence number, or what went wrong."""

    outcome: PutOutcome
    detail: str


class Sink(Protocol):
    """Puts records on a stream."""

    async def put(self, records: Sequence[tuple[str, bytes]]) -> list[PutResult]:
        """Put partition keys with data, at most 500 and 5 MiB, each at most once. Never raises PortError."""
        ...


class ObjectStore(Protocol):
    """An object store with put-if-absent. Keys are relative to the store's root and use `/`."""

    @property
    def url(self) -> str:
        """The root as a URL without a trailing slash, e.g. `s3://bucket/prefix`, `file:///data`."""
        ...

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Create `key` durably and completely: True. False if it exists; its content is unchanged.

        Raises Unavailable if the outcome is unknown: the write may have taken effect, or may do so. False may also
        be the answer to our own earlier write whose reply was lost, so the caller compares the contents.
        """
        ...

    async def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        ...

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; fewer only at the object's end. Raises NotFound."""
        ...

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all of a shorter object), and the object's full size. Raises NotFound."""
        ...

    def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object whose key starts with `prefix` and is greater than `start_after`, in key order (bytewise)."""
        ...

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """The distinct next path segments below `prefix` (ends in `/` or is empty), without slash, in order."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a missing key is not an error."""
        ...


class ScratchFile(Protocol):
    """A file for copies of what is in the store; nothing of it outlives `close`, nor the process."""

    def write(self, at: int, data: bytes) -> None:
        """Write at an offset. Raises NoRoom."""
        ...

    def read(self, at: int, length: int) -> bytes:
        """What was written there; fewer bytes where the file ends. Raises NoRoom."""
        ...

    def close(self) -> None:
        """Remove the file."""
        ...


class Scratch(Protocol):
    """Makes scratch files. They block: call them off the event loop."""

    @property
    def limit(self) -> int:
        """Bytes of one file at most; 0 if there is no room at all."""
        ...

    def open(self) -> ScratchFile:
        """A new empty file. Raises NoRoom."""
        ...


class LeaseTable(Protocol):
    """The leases of one stream. Every write is conditional, and returns None only if another worker holds the lease.

    A failed condition is checked before it is believed: a retried request may fail because its first attempt succeeded
    (KCL issues 2 and 59). If the row belongs to our own acquisition (`Lease.token`), the call continues from that row.
    All methods raise Unavailable (outcome unknown; the same call may be repeated) and Denied.
    """

    async def ensure(self) -> None:
        """Create the table if it does not exist, and wait until it is active. Denied names the missing permission."""
        ...

    async def rows(self) -> list[Lease]:
        """Every lease, read consistently, in no order. A long table is read page by page, not as one snapshot."""
        ...

    async def create(self, lease: Lease) -> bool:
        """Add a row: True. False if its key exists; the row is then unchanged.

        A row of an earlier stream (`of_earlier_stream`) is overwritten, as if it were missing.
        """
        ...

    async def renew(self, lease: Lease) -> Lease | None:
        """The owner's heartbeat; also writes `lease.throughput` if known. None: the lease is lost or deleted."""
        ...

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """Take a free lease, or steal it, if its row is unchanged since `lease` was read. None: another was faster.

        `token` must be new for every acquisition; repeating the call with the same token after Unavailable is safe.
        """
        ...

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """Write the owner's checkpoint; SHARD_END has `children` (shard ids). None: the lease is lost or deleted."""
        ...

    async def release(self, lease: Lease) -> Lease | None:
        """Release the lease. Returns the row without an owner. None: another worker has it, or it is deleted.

        If it was taken from the caller (`Lease.previous_owner`), this tells the new owner to stop waiting.
        """
        ...

    async def remove(self, lease: Lease) -> bool:
        """Delete the row if it is unchanged since `lease` was read. False: it has changed, or there is none."""
        ...


class Clock(Protocol):
    """Wall time, monotonic time and sleep; virtual in simulations."""

    def now_ms(self) -> int:
        """Local wall clock, epoch milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        ...


class Offload(Protocol):
    """Runs a pure function off the event loop (a thread), or in place in simulations."""

    async def __call__(self, fn: Callable[..., T], /, *args: object) -> T:
        """Run `fn(*args)` and return its result, or raise its exception."""
        ...


class Meter(Protocol):
    """Collects metrics. The metrics are declared once, in `vortex.metrics`."""

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def set(self, metric: GaugeMetric, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: HistogramMetric, value: float, **labels: str) -> None:
        """Record one observation of a histogram."""
        ...

    def forget(self, metric: Metric, **labels: str) -> None:
        """Remove a series: of a retired shard, or of what is no longer known."""
        ...

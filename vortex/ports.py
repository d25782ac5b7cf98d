"""What Vortex needs from the world, as Protocols; `adapters` and `testing` implement them.

Errors are sorted by what the caller must do, not by where they came from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol, TypeVar

from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import ObjectInfo, Page, Position, ShardInfo, StreamInfo
from vortex.metrics import CounterMetric, GaugeMetric, HistogramMetric, Metric

T = TypeVar("T")


class PortError(Exception):
    """Base of every error that a port raises. The message names the key, shard or setting concerned."""


class Unavailable(PortError):
    """Throttled, timed out, 5xx, 409, connection lost, disk full: outcome unknown. Retry the same call."""

    def __init__(self, message: str, cause: str = "unavailable") -> None:
        super().__init__(message)
        self.cause = cause
        """A short fixed word for the metric of retries, e.g. throttled, timeout, conflict, disk_full."""


class Denied(PortError):
    """Credentials, permissions, a missing stream or bucket: say so loudly, be unready, retry slowly."""


class NotFound(PortError):
    """The key or shard asked for does not exist."""


class IteratorExpired(PortError):
    """The iterator is older than five minutes: ask for a new one after the last record read."""


class InvalidPosition(PortError):
    """The sequence number or time asked for is not acceptable to the shard."""


class Stream(Protocol):
    """One Kinesis stream, read shard by shard."""

    async def describe(self) -> StreamInfo:
        """Name, ARN, creation time and retention."""
        ...

    async def server_time(self) -> int:
        """The service's own clock, epoch milliseconds (from a reply's Date header)."""
        ...

    async def list_shards(self) -> list[ShardInfo]:
        """Every shard that the service still lists, each once, closed ones included."""
        ...

    async def iterator(self, shard: str, position: Position) -> str | None:
        """An iterator, valid for five minutes; None where the reply has none, which proves nothing.

        Raises NotFound where the shard has vanished, InvalidPosition where it refuses `position`.
        """
        ...

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """One GetRecords call: at most `limit` records and 10 MiB. Raises IteratorExpired, Unavailable, Denied."""
        ...


class ObjectStore(Protocol):
    """An object store with put-if-absent. Keys are relative to the store's root and use `/`."""

    @property
    def url(self) -> str:
        """The root as a URL without a trailing slash, e.g. `s3://bucket/prefix`, `file:///data`."""
        ...

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Create `key` durably and whole: True. False where it exists; its content is then untouched.

        Raises Unavailable where the outcome is unknown: the write may or may not have taken effect, or may later.
        False may also answer one's own earlier write whose reply was lost: the caller compares contents.
        """
        ...

    async def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        ...

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; fewer only where the object ends before. Raises NotFound."""
        ...

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all of a shorter object), and the object's full size. Raises NotFound."""
        ...

    def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object whose key starts with `prefix` and is greater than `start_after`, in key order (bytewise)."""
        ...

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """The distinct next segments below `prefix` (which ends in `/` or is empty), without slash, in order."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a key that is not there is no error."""
        ...


class LeaseTable(Protocol):
    """The leases of one stream. Every write is conditional, and tells None only where somebody else holds the lease.

    A condition that fails is looked into before it is believed: a retried request may have failed on its own first
    try (KCL issues 2 and 59). What one's own acquisition (`Lease.token`) wrote meanwhile is gone on from, not lost.
    All raise Unavailable (outcome unknown; the same call may be made again) and Denied.
    """

    async def ensure(self) -> None:
        """Create the table where it is missing, and wait until it is active. Denied names what is not allowed."""
        ...

    async def rows(self) -> list[Lease]:
        """Every lease, consistently read, in no order; a long table is read page by page, not at one moment."""
        ...

    async def create(self, lease: Lease) -> bool:
        """Add a row: True. False where its key is there already, by whomever; it is then untouched.

        A row of an earlier stream (`of_earlier_stream`) is written over, as if it were absent.
        """
        ...

    async def renew(self, lease: Lease) -> Lease | None:
        """The owner's heartbeat; writes `lease.throughput`, too, where it is known. None: somebody else's, or gone."""
        ...

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """Take a free lease, or steal it, if its row is still as `lease` saw it. None: somebody was faster.

        `token` must be new at every acquisition; calling again with the same one after an Unavailable is safe.
        """
        ...

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """The owner tells how far it is; `children` (shard ids) come with SHARD_END. None: somebody else's, or gone."""
        ...

    async def release(self, lease: Lease) -> Lease | None:
        """Give the lease up: the row as it is without an owner. None: somebody else has it, or it is gone.

        Where it was taken from the caller (`Lease.previous_owner`), this tells the one who took it to wait no longer.
        """
        ...


class Clock(Protocol):
    """Wall time, monotonic time and sleep; virtual in simulations."""

    def now_ms(self) -> int:
        """Local wall clock, epoch milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds, never going back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Give way for `seconds`."""
        ...


class Offload(Protocol):
    """Runs a pure function off the event loop (a thread), or in place in simulations."""

    async def __call__(self, fn: Callable[..., T], /, *args: object) -> T:
        """`fn(*args)`, its result or its exception."""
        ...


class Meter(Protocol):
    """Where loops leave their numbers. The metrics are declared once, in `vortex.metrics`."""

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
        """Remove a labelled series, e.g. of a shard that is gone."""
        ...

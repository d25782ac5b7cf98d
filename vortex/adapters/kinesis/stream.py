"""Kinesis as a `ports.Stream`, by polling GetRecords.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html, API_ListShards.html,
API_DescribeStreamSummary.html. `get_records` makes the GetRecords calls; botocore makes all others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Annotated, Any, TypeVar

import msgspec

from vortex.adapters.aws.client import Session, calling, client_config, new_session, patience_of
from vortex.adapters.aws.exchange import MOST_BYTES, USUAL_BYTES, Malformed
from vortex.adapters.aws.pages import Pages
from vortex.adapters.aws.service_time import http_date
from vortex.adapters.kinesis.get_records import KEPT_BYTES, HashKeyRange, ParentId, RecordsCall, ShardId
from vortex.config.places import stream_region
from vortex.core.decode.records import Records
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import Page, Position, ShardInfo, Start, StreamInfo
from vortex.ports import Denied, InvalidPosition, IteratorExpired, NotFound, PortError, Unavailable

T = TypeVar("T")
_PAGE_BYTES = 48 * 2**20
"""Maximum size of a GetRecords reply: 10 MiB of data in base64, plus the metadata of 10,000 records."""
_MOST_RETENTION_H = 100_000
"""More than ten times the retention that Kinesis allows."""
_LISTINGS = 3
"""Attempts to list shards if the token expires; tokens of AWS are valid for five minutes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _TokenExpired(PortError):
    """The token of a listing has expired."""


_MEANINGS: dict[str, dict[str, type[PortError]]] = {
    # The meaning of an error code depends on the operation; these meanings override the rules of `translate`.
    "get_records": {
        "ExpiredIteratorException": IteratorExpired,
        # The stream was recreated, or the shard is retired: getting a new iterator shows which.
        "InvalidArgumentException": IteratorExpired,
        "ResourceNotFoundException": IteratorExpired,
    },
    "get_shard_iterator": {
        "InvalidArgumentException": InvalidPosition,
        "ResourceNotFoundException": NotFound,
    },
    "list_shards": {
        "ExpiredNextTokenException": _TokenExpired,
        "ResourceNotFoundException": Denied,
        "ResourceInUseException": Unavailable,  # the stream is being created
    },
    "describe_stream_summary": {"ResourceNotFoundException": Denied},
}


class KinesisStream:
    """One stream, read with an aiobotocore client and a prepared GetRecords call."""

    def __init__(self, client: Any, name_or_arn: str, get_records: RecordsCall) -> None:
        self._client, self._stream, self._get_records = client, name_or_arn, get_records
        self._region = client.meta.region_name
        self._which = _arn(name_or_arn) or {"StreamName": name_or_arn}
        self._patience_s = patience_of(client)

    def forget_buffers(self) -> None:
        """Free the memory that is kept for later replies. Any thread may call it."""
        self._get_records.forget_buffers()

    async def describe(self) -> StreamInfo:
        """Raises Denied where the stream does not exist."""
        return await self._call("describe_stream_summary", partial(_stream_info, self._stream), **self._which)

    async def server_time(self) -> int:
        """Kinesis's time in epoch milliseconds, rounded down to the second: a Date header is no more precise."""

        def read(reply: dict[str, Any]) -> int:
            return _date(reply["ResponseMetadata"]["HTTPHeaders"])

        return await self._call("describe_stream_summary", read, **self._which)

    async def list_shards(self) -> list[ShardInfo]:
        """All shards, sorted by id. Of duplicate rows, the one with an end is used. Restarts if a token expires."""
        for _ in range(_LISTINGS):
            with suppress(_TokenExpired):
                return await self._list_shards()
        raise Unavailable(f"list_shards {self._stream}: tokens expire before they are used", "other")

    async def _list_shards(self) -> list[ShardInfo]:
        found: dict[str, ShardInfo] = {}
        which, pages = self._which, Pages()

        def read(reply: dict[str, Any]) -> dict[str, str]:
            before = len(found)
            for shard in (_shard_info(msgspec.convert(row, _ShardRow)) for row in reply["Shards"]):
                if shard.id not in found or shard.end_sequence is not None:
                    found[shard.id] = shard
            if token := _text_or_none(reply.get("NextToken")):
                pages.check(token, new=len(found) > before)
            # A token already names the stream; Kinesis refuses a call with both a token and a name or ARN.
            return {"NextToken": token} if token else {}

        while which:
            which = await self._call("list_shards", read, **which)
        return [found[shard] for shard in sorted(found)]

    async def iterator(self, shard: str, position: Position) -> str | None:
        """See `ports.Stream.iterator`. Raises Denied where the stream does not exist, not only the shard."""
        where: dict[str, Any] = {}
        if position.kind is Start.AT_TIMESTAMP:
            where["Timestamp"] = _EPOCH + timedelta(milliseconds=int(position.value))
        elif position.value:
            where["StartingSequenceNumber"] = position.value
        try:
            return await self._call(
                "get_shard_iterator",
                _iterator,
                shard,
                ShardId=shard,
                ShardIteratorType=position.kind.value,
                **where,
                **self._which,
            )
        except NotFound:
            await self.describe()  # a missing shard and a missing stream have the same error code
            raise

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """See `ports.Stream.read`. Raises Unavailable, `inconsistent_end`, for an end of shard without children."""
        async with self._asking("get_records", shard, _PAGE_BYTES, KEPT_BYTES):
            reply, headers = await self._get_records(iterator, limit)
            records, server_ms = Records.of(reply.records), _date(headers)
            children = tuple(child.info() for child in reply.child_shards or ())
        following = reply.next_shard_iterator or None
        if following is not None:
            children = ()  # inconsistent with an iterator; reading on loses nothing
        elif not children:
            children = await self._children(shard)
        return Page(
            records=records,
            iterator=following,
            behind_ms=reply.millis_behind_latest,
            server_ms=server_ms,
            children=children,
            size=len(records.data),
        )

    async def _children(self, shard: str) -> tuple[ShardInfo, ...]:
        """The children of an ended shard whose last reply did not name them (some servers never name them)."""
        shards = await self.list_shards()
        children = tuple(child for child in shards if shard in child.parents)
        parent = next((each for each in shards if each.id == shard), None)
        if not children or (parent is not None and not _covered(parent, children)):
            raise Unavailable(
                f"shard {shard} of {self._stream} in {self._region} ended without children", cause="inconsistent_end"
            )
        return children

    async def _call(
        self, operation: str, read: Callable[[dict[str, Any]], T], /, shard: str = "", **arguments: Any
    ) -> T:
        """Make one call and return `read(reply)`. No retries: the caller's pace keeps a shard within its limits."""
        async with self._asking(operation, shard):
            return read(await getattr(self._client, operation)(**arguments))

    def _asking(
        self, operation: str, shard: str, most_bytes: int = MOST_BYTES, usual_bytes: int = USUAL_BYTES
    ) -> calling:
        what = f"{operation} {self._stream} {shard}".rstrip() + f" in {self._region}"
        return calling(what, self._patience_s, most_bytes, _MEANINGS[operation], usual_bytes)


def _date(headers: Mapping[str, str]) -> int:
    """The reply's Date header in epoch milliseconds. Closing hours depends on it."""
    date = headers.get("date", "")
    try:
        return _epoch_ms(date)
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"a reply with the Date {date[:80]!r}") from error


@lru_cache(8)
def _epoch_ms(date: str) -> int:
    """A Date header in epoch milliseconds; cached, since replies of one second share it. Raises ValueError."""
    return int(http_date(date)) * 1000


def _arn(name_or_arn: str) -> dict[str, str]:
    return {"StreamARN": name_or_arn} if name_or_arn.startswith("arn:") else {}


class _Summary(msgspec.Struct):
    name: str = msgspec.field(name="StreamName")
    arn: str = msgspec.field(name="StreamARN")
    created: datetime = msgspec.field(name="StreamCreationTimestamp")
    retention_h: Annotated[int, msgspec.Meta(ge=1, le=_MOST_RETENTION_H)] = msgspec.field(name="RetentionPeriodHours")


class _SequenceNumberRange(msgspec.Struct, rename="pascal"):
    starting_sequence_number: str
    ending_sequence_number: str | None = None


class _ShardRow(msgspec.Struct, rename="pascal"):
    """One row of ListShards."""

    shard_id: ShardId
    hash_key_range: HashKeyRange
    sequence_number_range: _SequenceNumberRange
    parent_shard_id: ParentId | None = None
    adjacent_parent_shard_id: ParentId | None = None


def _stream_info(name_or_arn: str, reply: dict[str, Any]) -> StreamInfo:
    summary = msgspec.convert(reply["StreamDescriptionSummary"], _Summary)
    created_ms = (summary.created - _EPOCH) // timedelta(milliseconds=1)
    if summary.name != name_or_arn.rpartition("/")[2]:  # the state's folder has this name
        raise Malformed(f"a description of stream {summary.name[:80]!r}")
    if created_ms < 0:
        raise Malformed(f"a stream that was created at {summary.created}")
    return StreamInfo(summary.name, summary.arn, created_ms, summary.retention_h * 3_600_000)


def _iterator(reply: dict[str, Any]) -> str | None:
    return _text_or_none(reply.get("ShardIterator")) or None


def _text_or_none(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"{str(value)[:80]} instead of a string")


def _shard_info(row: _ShardRow) -> ShardInfo:
    first, last = row.hash_key_range.span()
    numbers = row.sequence_number_range
    return ShardInfo(
        id=row.shard_id,
        parents=tuple(parent for parent in (row.parent_shard_id, row.adjacent_parent_shard_id) if parent),
        start_hash=first,
        end_hash=last,
        start_sequence=numbers.starting_sequence_number,
        end_sequence=numbers.ending_sequence_number,
    )


def _covered(parent: ShardInfo, children: Iterable[ShardInfo]) -> bool:
    """Whether `children` cover all hash keys of `parent`: an incomplete split must not be accepted."""
    shared = (min(parent.end_hash, child.end_hash) - max(parent.start_hash, child.start_hash) + 1 for child in children)
    return sum(shared) == parent.end_hash - parent.start_hash + 1


@asynccontextmanager
async def open_kinesis_stream(
    stream: str,
    region: str | None = None,
    endpoint_url: str | None = None,
    *,
    session: Session | None = None,
    connections: int = 64,
    connect_timeout_s: float = 5,
    read_timeout_s: float = 30,
) -> AsyncIterator[KinesisStream]:
    """A stream by name or ARN (an ARN contains the region), with the credentials of the session.

    `connections` limits the concurrent calls of all shards.
    """
    region = region or stream_region(stream)
    session = session or new_session(region)
    config = client_config(
        session,
        max_pool_connections=connections,
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1},
    )
    async with session.create_client("kinesis", region_name=region, endpoint_url=endpoint_url, config=config) as client:
        protocol = client.meta.service_model.resolved_protocol
        if protocol != "json":
            raise NotImplementedError(f"this version of botocore speaks {protocol} with Kinesis")
        yield KinesisStream(client, stream, await RecordsCall.prepare(client, _arn(stream)))

"""GetRecords, the call that a worker makes all day.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html.

botocore's parser takes 27 us a record; here a reply is read into memory that was used before,
and decoded straight into records. Error replies botocore reads, as for every other call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import msgspec
import numpy as np

from vortex.adapters.aws.body import read_body
from vortex.adapters.aws.exchange import whole
from vortex.adapters.aws.signed_call import Prepared
from vortex.core.decode.records import Records
from vortex.core.ingest.pacing import PAGE_BYTES
from vortex.core.model import Record, ShardInfo
from vortex.core.native import steps

OPERATION = "GetRecords"
_KEPT_BYTES = 2 * PAGE_BYTES
"""What a buffer for replies may have grown to, to be used again: replies are asked for by weight, which they hold in
base64, and few are larger."""


class HashKeyRange(msgspec.Struct, rename="pascal"):
    """The hash keys of a shard, as Kinesis writes them."""

    starting_hash_key: str
    ending_hash_key: str

    def span(self) -> tuple[int, int]:
        """First and last. Raises ValueError where no shard can have them."""
        first, last = int(self.starting_hash_key), int(self.ending_hash_key)
        if not 0 <= first <= last < 2**128:
            raise ValueError(f"hash keys from {first} to {last}")
        return first, last


class _ChildShard(msgspec.Struct, rename="pascal"):
    shard_id: str
    parent_shards: tuple[str, ...]
    hash_key_range: HashKeyRange

    def info(self) -> ShardInfo:
        return ShardInfo(self.shard_id, self.parent_shards, *self.hash_key_range.span())


class Reply(msgspec.Struct, rename="pascal"):
    """The body of a reply. Fields it does not name (PartitionKey, EncryptionType) are passed over.

    MillisBehindLatest must be there: taking its absence for 0 would let an hour close with events still unread.
    """

    records: Sequence[Record]
    millis_behind_latest: Annotated[int, msgspec.Meta(ge=0)]
    next_shard_iterator: str | None = None
    child_shards: tuple[_ChildShard, ...] | None = None


_decode = msgspec.json.Decoder(Reply).decode


def decode_reply(body: bytes | memoryview) -> Reply:
    """A reply's body, with its records by column where it is plain. Raises msgspec.DecodeError."""
    columns = steps.records(body)
    try:
        if columns is None:
            return _decode(body)
        data, bounds, arrivals, sequences, rest = columns
        reply = _decode(rest)
    except UnicodeDecodeError as error:  # which msgspec raises for a string that it decodes, among errors of its own
        raise msgspec.DecodeError(str(error)) from error
    reply.records = Records(
        np.frombuffer(arrivals, dtype=np.float64), sequences, data, np.frombuffer(bounds, dtype=np.int64)
    )
    return reply


class RecordsCall:
    """Calls GetRecords. Made by `prepare`."""

    def __init__(self, prepared: Prepared, arguments: dict[str, str], patience_s: float) -> None:
        self._prepared, self._arguments, self._patience_s = prepared, arguments, patience_s
        self._spare: list[bytearray] = []
        """Buffers that no reply is in: memory that was touched before, where a megabyte made anew for each reply would
        be zeroed by the kernel first, a page at a time. There are never more of them than calls were under way at once.
        """

    @classmethod
    async def prepare(cls, client: Any, arguments: dict[str, str]) -> RecordsCall:
        """A call over an aiobotocore client of Kinesis; nothing is sent. `arguments` (StreamARN) go along each time."""
        prepared = await Prepared.of(client, OPERATION, ShardIterator="none", **arguments)
        return cls(prepared, arguments, client.meta.config.read_timeout)

    @property
    def url(self) -> str:
        """Where calls go."""
        return self._prepared.url

    async def __call__(self, iterator: str, limit: int) -> tuple[Reply, Mapping[str, str]]:
        """The reply and its headers. Raises ClientError, aiohttp.ClientError, OSError, BotoCoreError, Malformed, and
        msgspec.MsgspecError or whatever else a body without sense gives.
        """
        body = msgspec.json.encode({"ShardIterator": iterator, "Limit": limit, **self._arguments})
        response = await self._prepared.send(body)
        if response.status != 200:
            raise await self._prepared.refusal(await whole(response))
        try:
            return await self._reply(response), response.headers
        finally:
            response.close()  # no more than letting go of it, where it was read to its end

    async def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        buffer = self._spare.pop() if self._spare else bytearray()
        try:
            size = await read_body(response, buffer, self._patience_s)
            with memoryview(buffer) as whole, whole[:size] as body:
                return decode_reply(body)
        finally:
            if len(buffer) <= _KEPT_BYTES:
                self._spare.append(buffer)

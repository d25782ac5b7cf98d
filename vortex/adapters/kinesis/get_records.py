"""GetRecords, the most frequent call of a worker.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html.

botocore's parser takes 27 us a record. Here a reply is read into a reused buffer and decoded
straight into records. botocore parses error replies, as for every other call.
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
KEPT_BYTES = 2 * PAGE_BYTES
"""Largest buffer that is reused, and the size of a usual reply. It is set by the records' bytes, which a reply holds in
base64; few replies are larger."""
_KEPT_TOTAL = 40 * 2**20
"""Bytes of kept buffers from which on no other one is kept."""


class HashKeyRange(msgspec.Struct, rename="pascal"):
    """The hash key range of a shard, as Kinesis writes it."""

    starting_hash_key: str
    ending_hash_key: str

    def span(self) -> tuple[int, int]:
        """First and last hash key. Raises ValueError where they are invalid."""
        first, last = int(self.starting_hash_key), int(self.ending_hash_key)
        if not 0 <= first <= last < 2**128:
            raise ValueError(f"hash keys from {first} to {last}")
        return first, last


_NAME = r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,128}"
ShardId = Annotated[str, msgspec.Meta(pattern=rf"\A{_NAME}\Z")]
"""As the API defines it. It becomes a folder of the state: state of an id with a slash could never be read again."""
ParentId = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{_NAME})?\Z")]
"""Some servers write an empty text for none."""


class _ChildShard(msgspec.Struct, rename="pascal"):
    shard_id: ShardId
    parent_shards: tuple[ShardId, ...]
    hash_key_range: HashKeyRange

    def info(self) -> ShardInfo:
        return ShardInfo(self.shard_id, self.parent_shards, *self.hash_key_range.span())


class Reply(msgspec.Struct, rename="pascal"):
    """The body of a reply. Other fields (PartitionKey, EncryptionType) are ignored.

    MillisBehindLatest is required: reading its absence as 0 would let an hour close with events still unread.
    """

    records: Sequence[Record]
    millis_behind_latest: Annotated[int, msgspec.Meta(ge=0)]
    next_shard_iterator: str | None = None
    child_shards: tuple[_ChildShard, ...] | None = None


_decode = msgspec.json.Decoder(Reply).decode


def decode_reply(body: bytes | memoryview) -> Reply:
    """Decode a reply; its records are columns if the native decoder accepts it. Raises msgspec.DecodeError."""
    columns = steps.records(body)
    try:
        if columns is None:
            return _decode(body)
        data, bounds, arrivals, sequences, rest = columns
        reply = _decode(rest)
    except UnicodeDecodeError as error:  # msgspec raises it for an invalid string
        raise msgspec.DecodeError(str(error)) from error
    reply.records = Records(
        np.frombuffer(arrivals, dtype=np.float64), sequences, data, np.frombuffer(bounds, dtype=np.int64)
    )
    return reply


class RecordsCall:
    """Calls GetRecords. Create it with `prepare`."""

    def __init__(self, prepared: Prepared, arguments: dict[str, str], patience_s: float) -> None:
        self._prepared, self._arguments, self._patience_s = prepared, arguments, patience_s
        self._spare: list[bytearray] = []
        """Unused buffers for replies. The kernel must zero each page of new memory, so reusing touched memory is
        cheaper.
        """

    @classmethod
    async def prepare(cls, client: Any, arguments: dict[str, str]) -> RecordsCall:
        """Prepare the call for a Kinesis client. Sends nothing. `arguments` (StreamARN) go with each call."""
        prepared = await Prepared.of(client, OPERATION, ShardIterator="none", **arguments)
        return cls(prepared, arguments, client.meta.config.read_timeout)

    def forget_buffers(self) -> None:
        """Free the buffers that are kept for later replies. Any thread may call it."""
        self._spare.clear()

    @property
    def url(self) -> str:
        """The endpoint's URL."""
        return self._prepared.url

    async def __call__(self, iterator: str, limit: int) -> tuple[Reply, Mapping[str, str]]:
        """The reply and its headers. Raises ClientError, aiohttp.ClientError, OSError, BotoCoreError, Malformed, and
        msgspec.MsgspecError or another exception for a malformed body.
        """
        body = msgspec.json.encode({"ShardIterator": iterator, "Limit": limit, **self._arguments})
        response = await self._prepared.send(body)
        if response.status != 200:
            raise await self._prepared.refusal(await whole(response))
        try:
            return await self._reply(response), response.headers
        finally:
            response.close()  # keeps the connection if the reply was read to its end

    async def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        buffer = self._buffer()
        try:
            size = await read_body(response, buffer, self._patience_s)
            with memoryview(buffer) as whole, whole[:size] as body:
                return decode_reply(body)
        finally:
            if len(buffer) <= KEPT_BYTES and sum(map(len, self._spare)) <= _KEPT_TOTAL:
                self._spare.append(buffer)

    def _buffer(self) -> bytearray:
        try:
            return self._spare.pop()
        except IndexError:  # `forget_buffers` may come between a look and the pop
            return bytearray()

"""GetRecords, the most frequent call of a worker.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html.

botocore's parser takes 27 us a record. Here a reply is read into a reused buffer and decoded
straight into records. botocore parses error replies, as for every other call.

Replies are asked for in CBOR, a quarter smaller than in JSON, where data are in base64 (docs/decisions/0008). AWS
promises it only to its SDK for Java, and not every emulator knows it: an endpoint that gives no readable reply in CBOR
is asked in JSON.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import msgspec
import numpy as np
from botocore.exceptions import ClientError

from vortex.adapters.aws import cbor
from vortex.adapters.aws.body import read_body
from vortex.adapters.aws.cbor import NotCbor
from vortex.adapters.aws.exchange import Malformed, whole
from vortex.adapters.aws.signed_call import Prepared
from vortex.adapters.kinesis.encoding import Encoding
from vortex.core.decode.records import Records
from vortex.core.ingest.pacing import PAGE_BYTES
from vortex.core.model import Record, ShardInfo
from vortex.core.native import steps
from vortex.ports import PortError

log = logging.getLogger(__name__)
OPERATION = "GetRecords"
KEPT_BYTES = 2 * PAGE_BYTES
"""Largest buffer that is reused, and the size of a usual reply. It is set by the records' bytes, which a reply holds in
base64; few replies are larger."""
_KEPT_TOTAL = 40 * 2**20
"""Bytes of kept buffers from which on no other one is kept."""
_REST_BYTES = 16 * 1024
"""Maximum size of what a reply in CBOR holds beside its records, a few hundred bytes: botocore reads it in Python."""
_SHOWN = 80
"""Characters of a foreign text that a message shows."""


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


_Columns = tuple[bytes, bytes, bytes, bytes, bytes]
_decode = msgspec.json.Decoder(Reply).decode


def decode_reply(body: bytes | memoryview) -> Reply:
    """Decode a reply; its records are columns if the native decoder accepts it. Raises msgspec.DecodeError."""
    columns = steps.records(body)
    try:
        return _decode(body) if columns is None else _with_records(_decode(columns[-1]), columns)
    except UnicodeDecodeError as error:  # msgspec raises it for an invalid string
        raise msgspec.DecodeError(str(error)) from error


def decode_cbor(body: bytes | memoryview) -> Reply:
    """Decode a reply in CBOR. Raises NotCbor for one that is not read here."""
    columns = steps.cbor_records(body)
    if columns is None:
        raise NotCbor("records of another form")
    if len(columns[-1]) > _REST_BYTES:
        raise NotCbor(f"{len(columns[-1])} bytes beside the records")
    try:
        return _with_records(msgspec.convert(cbor.document(columns[-1]), Reply), columns)
    except Exception as error:  # noqa: BLE001  # whatever the bytes may lead to; the same reply in JSON tells
        raise NotCbor(f"a reply of another form: {str(error)[:_SHOWN]!r}") from None


def _with_records(reply: Reply, columns: _Columns) -> Reply:
    data, bounds, arrivals, sequences, _ = columns
    reply.records = Records(
        np.frombuffer(arrivals, dtype=np.float64), sequences, data, np.frombuffer(bounds, dtype=np.int64)
    )
    return reply


class RecordsCall:
    """Calls GetRecords. Create it with `prepare`."""

    def __init__(self, prepared: Prepared, model: Any, arguments: dict[str, str], patience_s: float) -> None:
        self._prepared, self._arguments, self._patience_s = prepared, arguments, patience_s
        self._model = model
        self._encoding = Encoding()
        self._spare: list[bytearray] = []
        """Unused buffers for replies. The kernel must zero each page of new memory, so reusing touched memory is
        cheaper.
        """

    @classmethod
    async def prepare(cls, client: Any, arguments: dict[str, str]) -> RecordsCall:
        """Prepare the call for a Kinesis client. Sends nothing. `arguments` (StreamARN) go with each call."""
        prepared = await Prepared.of(client, OPERATION, ShardIterator="none", **arguments)
        model = client.meta.service_model.operation_model(OPERATION)
        return cls(prepared, model, arguments, client.meta.config.read_timeout)

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
        arguments = {"ShardIterator": iterator, "Limit": limit, **self._arguments}
        loop = asyncio.get_running_loop()
        if not self._encoding.is_cbor(loop.time()):
            return await self._in_json(arguments)
        try:
            answer = await self._in_cbor(arguments)
        except (NotCbor, Malformed) as error:
            why = str(error)  # nothing else of it stays, as its traceback may hold a large body
        except ClientError:
            self._encoding.worked(records=False)
            raise
        except PortError:  # no credentials: nothing was sent
            self._encoding.undecided()
            raise
        except BaseException:  # no reply, or the deadline of the call
            self._encoding.failed(loop.time())
            raise
        else:
            self._encoding.worked(records=bool(answer[0].records))
            return answer
        try:
            answer = await self._in_json(arguments)
        except BaseException:
            self._encoding.undecided()
            raise
        if self._encoding.failed(loop.time()):
            log.info("%s sends records in JSON, not in CBOR (%s): replies are a third larger", self.url, why)
        return answer

    async def _in_json(self, arguments: dict[str, Any]) -> tuple[Reply, Mapping[str, str]]:
        response = await self._prepared.send(msgspec.json.encode(arguments))
        if response.status != 200:
            raise await self._prepared.refusal(await whole(response))
        return await self._reply(response, decode_reply)

    async def _in_cbor(self, arguments: dict[str, Any]) -> tuple[Reply, Mapping[str, str]]:
        """As `_in_json`. Raises NotCbor for a reply that is none, or that is not read here."""
        response = await self._prepared.send(cbor.written(arguments, self._model), in_cbor=True)
        if response.status != 200:
            raise await self._prepared.refusal(await whole(response), in_cbor=True)
        return await self._reply(response, decode_cbor)

    async def _reply(
        self, response: aiohttp.ClientResponse, decode: Callable[[memoryview], Reply]
    ) -> tuple[Reply, Mapping[str, str]]:
        buffer = self._buffer()
        try:
            size = await read_body(response, buffer, self._patience_s)
            with memoryview(buffer) as whole, whole[:size] as body:
                return decode(body), response.headers
        finally:
            response.close()  # keeps the connection if the reply was read to its end
            if len(buffer) <= KEPT_BYTES and sum(map(len, self._spare)) <= _KEPT_TOTAL:
                self._spare.append(buffer)

    def _buffer(self) -> bytearray:
        try:
            return self._spare.pop()
        except IndexError:  # `forget_buffers` may come between a look and the pop
            return bytearray()

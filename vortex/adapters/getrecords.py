"""GetRecords, the call that a worker makes all day, without what botocore does anew for each call.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html.

Through the ordinary client a call costs 650 us of CPU before its first record (docs/performance.md): hooks, endpoint
rules, validation, and then a parser that takes 27 us a record. From one call to the next only the body and the
signature differ. So botocore is asked once what it would sign: the endpoint as its rules resolve it, the headers, the
signer. Each call signs that with its own body and goes over the client's own connections; credentials (and their
renewal), proxies, CA bundle, time-outs and the meaning of error replies are botocore's, as for every other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import msgspec
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from vortex.core.model import Record, ShardInfo

OPERATION = "GetRecords"
_KEPT_BYTES = 4 * 2**20
"""What a buffer for replies may have grown to, to be used again: replies are asked for by weight, few are larger."""


class _HashKeyRange(msgspec.Struct, rename="pascal"):
    starting_hash_key: str
    ending_hash_key: str


class _ChildShard(msgspec.Struct, rename="pascal"):
    shard_id: str
    parent_shards: tuple[str, ...]
    hash_key_range: _HashKeyRange

    def info(self) -> ShardInfo:
        span = self.hash_key_range
        return ShardInfo(self.shard_id, self.parent_shards, int(span.starting_hash_key), int(span.ending_hash_key))


class Reply(msgspec.Struct, rename="pascal"):
    """The body of a reply. Fields it does not name (PartitionKey, EncryptionType) are passed over.

    MillisBehindLatest must be there: taking its absence for 0 would let an hour close with events still unread.
    """

    records: list[Record]
    millis_behind_latest: int
    next_shard_iterator: str | None = None
    child_shards: tuple[_ChildShard, ...] | None = None


decode_reply = msgspec.json.Decoder(Reply).decode
"""Body bytes to `Reply`. Raises msgspec.DecodeError."""


class _Stopped(Exception):
    """Carries what was about to be signed out of botocore."""

    def __init__(self, request: AWSRequest, signer: Any) -> None:
        super().__init__("nothing was sent")
        self.request, self.signer = request, signer


class RecordsCall:
    """Calls GetRecords. Made by `prepare`."""

    def __init__(self, http: Any, parser: Any, model: _Stopped, arguments: dict[str, str]) -> None:
        self._http, self._parser, self._signer, self._arguments = http, parser, model.signer, arguments
        self._spare: list[bytearray] = []
        """Buffers that no reply is in: memory that was touched before, where a megabyte made anew for each reply would
        be zeroed by the kernel first, a page at a time.
        """
        request = model.request
        self.url: str = request.url
        """Where calls go."""
        self._method, self._context = request.method, request.context
        # An invocation's id and the number of its attempt are of one call alone.
        self._headers = {name: value for name, value in request.headers.items() if not name.startswith("amz-sdk-")}
        self._headers["Host"] = urlsplit(self.url).netloc  # the signer would parse the URL for it, twice a call

    @classmethod
    async def prepare(cls, client: Any, parser: Any, arguments: dict[str, str]) -> RecordsCall:
        """A call over an aiobotocore client of Kinesis; nothing is sent. `arguments` (StreamARN) go along each time.

        `parser` is botocore's, for error replies.
        """
        event = f"before-sign.kinesis.{OPERATION}"

        def stop(request: AWSRequest, request_signer: Any, **_: object) -> NoReturn:
            raise _Stopped(request, request_signer)

        client.meta.events.register(event, stop)
        try:
            await client.get_records(ShardIterator="none", **arguments)
        except _Stopped as stopped:
            return cls(client._endpoint.http_session, parser, stopped, arguments)
        finally:
            client.meta.events.unregister(event, stop)
        raise NotImplementedError("this version of botocore signs without saying so")

    async def __call__(self, iterator: str, limit: int) -> tuple[Reply, Mapping[str, str]]:
        """The reply and its headers. Raises ClientError, BotoCoreError, msgspec.MsgspecError (a body without sense)."""
        body = msgspec.json.encode({"ShardIterator": iterator, "Limit": limit, **self._arguments})
        request = AWSRequest(self._method, self.url, self._headers, body, stream_output=True)
        request.context = dict(self._context)
        await self._signer.sign(OPERATION, request)
        response = await self._http.send(request.prepare())
        if response.status_code != 200:
            told = {"status_code": response.status_code, "headers": response.headers, "body": await response.content}
            raise ClientError(await self._parser.parse(told, None), OPERATION)
        return await self._reply(response.raw), response.headers

    async def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        buffer = self._spare.pop() if self._spare else bytearray()
        try:
            size = 0
            async for chunk in response.content.iter_any():
                end = size + len(chunk)
                buffer.extend(bytes(max(0, end - len(buffer))))
                with memoryview(buffer) as whole:  # a bytearray would copy what is assigned to a slice of it twice
                    whole[size:end] = chunk
                size = end
            with memoryview(buffer) as whole, whole[:size] as body:
                return decode_reply(body)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self.url, error=error) from error
        except aiohttp.ClientError as error:
            raise ConnectionClosedError(endpoint_url=self.url, error=error) from error
        finally:
            response.close()  # no more than letting go of it, where the reply was read to its end
            if len(buffer) <= _KEPT_BYTES:
                self._spare.append(buffer)

"""An object store in S3, or in anything that speaks its protocol and honours `If-None-Match: *`.

API: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. A 412 says that the key exists; a
409 that another conditional write was under way, and has to be tried again.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from vortex.adapters.aws import client_config, new_session, translate
from vortex.adapters.getobject import GetCall
from vortex.adapters.putobject import PutCall
from vortex.core.model import ObjectInfo
from vortex.places import Bucket, store_place
from vortex.ports import Denied, NotFound, PortError, Unavailable

_DELETE_BATCH = 1000  # of DeleteObjects
_EXISTS = {"PreconditionFailed", "412"}
_EMPTY_RANGE = {"InvalidRange", "416"}


class S3Store:
    """ObjectStore below `prefix` of a bucket. `put_extras` are parameters of every put (encryption); `put_call` and
    `get_call` are quicker ways, for what they can do: what is neither yes nor no there is asked again of the client
    that follows redirects, sets its clock right, and tries several times, and what stays an error is told from there.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = "",
        *,
        put_extras: dict[str, str] | None = None,
        expected_bucket_owner: str | None = None,
        put_call: PutCall | None = None,
        get_call: GetCall | None = None,
    ) -> None:
        self._client, self._put_call, self._get_call = client, put_call, get_call
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._put_extras = put_extras or {}
        self._common = {"Bucket": bucket}
        if expected_bucket_owner:
            self._common["ExpectedBucketOwner"] = expected_bucket_owner

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without a trailing slash."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port."""
        if self._put_call is not None:
            with contextlib.suppress(BotoCoreError):
                status = await self._put_call(self._prefix + key, body, content_type)
                if status in (200, 412):
                    return status == 200
        try:
            with self._errors(self._prefix + key):
                await self._client.put_object(
                    **self._common,
                    **self._put_extras,
                    Key=self._prefix + key,
                    Body=body,
                    ContentType=content_type,
                    IfNoneMatch="*",
                )
        except _Exists:
            return False
        return True

    async def get(self, key: str) -> bytes:
        """See the port."""
        return (await self._get(key))[0]

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        if length <= 0:
            return b""
        return (await self._get(key, f"bytes={offset}-{offset + length - 1}"))[0]

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""
        return await self._get(key, f"bytes=-{length}")

    async def _get(self, key: str, span: str | None = None) -> tuple[bytes, int]:
        if span and self._get_call is not None:
            with contextlib.suppress(BotoCoreError):
                status, data, told = await self._get_call(self._prefix + key, span)
                if status == 404:
                    raise NotFound(f"{self._named(self._prefix + key)}: NoSuchKey")
                if status != 400:
                    return data, _total(told, data)
        extra = {"Range": span} if span else {}
        try:
            with self._errors(self._prefix + key):
                reply = await self._client.get_object(**self._common, Key=self._prefix + key, **extra)
                async with reply["Body"] as stream:
                    data = await stream.read()
        except _NoSuchRange:
            return b"", 0
        return data, _total(str(reply.get("ContentRange", "")), data)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port."""
        extra = {"StartAfter": self._prefix + start_after} if start_after else {}
        async for page in self._pages(Prefix=self._prefix + prefix, **extra):
            for row in page.get("Contents", ()):
                modified = int(row["LastModified"].timestamp() * 1000)
                yield ObjectInfo(row["Key"][len(self._prefix) :], int(row["Size"]), modified)

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        whole = self._prefix + prefix
        async for page in self._pages(Prefix=whole, Delimiter="/"):
            for row in page.get("CommonPrefixes", ()):
                yield row["Prefix"][len(whole) : -1]

    async def _pages(self, **query: str) -> AsyncIterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            with self._errors(query["Prefix"]):
                page = await self._client.list_objects_v2(**self._common, **query, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port."""
        names = [{"Key": self._prefix + key} for key in keys]
        for begin in range(0, len(names), _DELETE_BATCH):
            batch = names[begin : begin + _DELETE_BATCH]
            with self._errors(batch[0]["Key"]):
                reply = await self._client.delete_objects(**self._common, Delete={"Objects": batch, "Quiet": True})
            if failed := reply.get("Errors"):
                raise _of_delete(failed[0], self._named(str(failed[0].get("Key"))))

    def _named(self, key: str) -> str:
        """What errors say they are about: the whole key, and where it was looked for."""
        return f"s3://{self._bucket}/{key} (region {self._client.meta.region_name or 'unknown'})"

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Errors of a call about the whole key (or prefix) `key`."""
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _EXISTS:
                raise _Exists from error
            if code in _EMPTY_RANGE:
                raise _NoSuchRange from error
            raise translate(error, self._named(key)) from error
        except (BotoCoreError, OSError, TimeoutError) as error:
            raise translate(error, self._named(key)) from error


def _of_delete(row: dict[str, Any], what: str) -> PortError:
    """DeleteObjects answers 200 and tells of each key that it did not delete."""
    error = {"Code": str(row.get("Code")), "Message": str(row.get("Message"))}
    found = translate(ClientError({"Error": error}, "DeleteObjects"), f"delete {what}")
    return found if isinstance(found, Denied) else Unavailable(str(found), "delete")


def _total(content_range: str, data: bytes) -> int:
    """The object's size; it is in the Content-Range of a part, as in `bytes 0-9/100`."""
    total = content_range.rpartition("/")[2]
    return int(total) if total.isdigit() else len(data)


class _Exists(Exception):
    pass


class _NoSuchRange(Exception):
    pass


@contextlib.asynccontextmanager
async def open_s3_store(
    url: str,
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    server_side_encryption: str | None = None,
    kms_key_id: str | None = None,
    expected_bucket_owner: str | None = None,
    request_checksum_calculation: Literal["when_required", "when_supported"] = "when_supported",
) -> AsyncIterator[S3Store]:
    """The store at `s3://bucket/prefix`; credentials come from where botocore looks for them. Raises ValueError."""
    place = store_place(url)
    if not isinstance(place, Bucket):
        raise ValueError(f"{url} is not in S3")
    bucket, prefix = place.name, place.prefix
    extras = {}
    if server_side_encryption:
        extras["ServerSideEncryption"] = server_side_encryption
    if kms_key_id:
        extras["SSEKMSKeyId"] = kms_key_id
    session = new_session()
    config = client_config(
        session,
        max_pool_connections=64,
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        request_checksum_calculation=request_checksum_calculation,
        response_checksum_validation=request_checksum_calculation,
        s3={"addressing_style": "path"} if endpoint_url and place.region is None else None,  # an ARN has no path
    )
    async with session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=config) as client:
        owner = {"ExpectedBucketOwner": expected_bucket_owner} if expected_bucket_owner else {}
        checksum = request_checksum_calculation == "when_supported"
        put_call = await PutCall.prepare(client, bucket, {**owner, **extras}, checksum=checksum)
        yield S3Store(
            client,
            bucket,
            prefix,
            put_extras=extras,
            expected_bucket_owner=expected_bucket_owner,
            put_call=put_call,
            get_call=await GetCall.prepare(client, bucket, owner),
        )

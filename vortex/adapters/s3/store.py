"""An object store in S3, or in any server that supports its protocol with `If-None-Match: *`.

API: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. A 412 means that the key exists; a
409 that another conditional write was in progress, and must be retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from botocore.exceptions import ClientError

from vortex.adapters.aws.client import (
    Session,
    calling,
    client_config,
    code_of,
    new_session,
    patience_of,
    status_of,
    translate,
)
from vortex.adapters.aws.exchange import MOST_BYTES, USUAL_BYTES, Answer, Malformed, whole
from vortex.adapters.aws.pages import Pages
from vortex.adapters.s3.get_object import GetCall, Span, whole_object
from vortex.adapters.s3.put_object import CHECKSUM, PutCall, check_created
from vortex.config.places import Bucket, store_place
from vortex.core.model import ObjectInfo
from vortex.ports import Denied, PortError, Unavailable

T = TypeVar("T")
_DELETE_BATCH = 1000  # of DeleteObjects
_EXISTS = "PreconditionFailed"
_EMPTY_RANGE = "InvalidRange"
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_AT_ONCE = {"server", "connection"}
_PAUSES_S = (0.2, 0.8)
"""Maximum pauses before the second and the third attempt."""
_WHOLE = 2**30
"""Maximum bytes of a whole object, and of a range without a length."""
_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<(?:\w+:)?(\w+)[\s/>]")
"""Matches the name of an XML document's root element."""
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
"""A bucket's name, not an ARN."""


class S3Store:
    """ObjectStore below `prefix` of a bucket.

    `put_extras` are parameters of every put (encryption). `put_call` and `get_call` are fast paths for a bucket in the
    client's own region; after a redirect the client is used instead. `sums`: S3 stores checksums.
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
        sums: bool = True,
        on_retry: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._client, self._put_call, self._get_call, self._on_retry = client, put_call, get_call, on_retry
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._put_extras = put_extras or {}
        self._common = {"Bucket": bucket}
        if expected_bucket_owner:
            self._common["ExpectedBucketOwner"] = expected_bucket_owner
        self._patience_s, self._sums = patience_of(client), sums

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without a trailing slash."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port."""

        async def ask() -> bool:
            try:
                await self._put(self._prefix + key, body, content_type)
            except ClientError as error:
                if code_of(error) == _EXISTS and status_of(error) < 500:
                    return False
                if status_of(error) != 412:
                    raise
                return await self._confirm_exists(key)
            return True

        return await self._call(key, ask)

    async def _put(self, name: str, body: bytes, content_type: str) -> None:
        if self._put_call is not None:
            try:
                return await self._put_call(name, body, content_type)
            except ClientError as error:
                self._follow(error)
        reply = await self._client.put_object(
            **self._common, **self._put_extras, Key=name, Body=body, ContentType=content_type, IfNoneMatch="*"
        )
        return check_created(reply["ResponseMetadata"]["HTTPStatusCode"], reply.get("ETag"))

    async def _confirm_exists(self, key: str) -> bool:
        """Check a 412 without S3's error code. Returns False if the key exists, raises Malformed if it does not."""
        try:
            await self._part(key, Span(None, 1))
        except ClientError as error:
            if code_of(error) != "NoSuchKey":
                raise
            raise Malformed("status 412 to a put, but the key does not exist") from error
        return False

    async def get(self, key: str) -> bytes:
        """See the port."""
        return (await self._get(key, Span()))[0]

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        if length <= 0:
            return b""
        return (await self._get(key, Span(offset, length)))[0]

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""
        return await self._get(key, Span(None, length))

    async def _get(self, key: str, span: Span) -> tuple[bytes, int]:
        most, usual = max(span.length or _WHOLE, MOST_BYTES), max(span.length or 0, USUAL_BYTES)
        return await self._call(key, lambda: self._part(key, span), most, usual)

    async def _part(self, key: str, span: Span) -> tuple[bytes, int]:
        name = self._prefix + key
        if span == Span() and self._sums:
            answer = await self._ask(name, {})
            if CHECKSUM in answer.headers:
                return whole_object(answer), len(answer.body)
        try:
            return span.of(await self._ask(name, {"Range": span.header}))
        except ClientError as error:
            if code_of(error) != _EMPTY_RANGE or status_of(error) >= 500:
                raise
        if span.first:  # it begins at or after the object's end
            return b"", 0
        body = whole_object(await self._ask(name, {}))  # empty, or the server refuses a range longer than the object
        return span.of_whole(body), len(body)

    async def _ask(self, name: str, wanted: dict[str, str]) -> Answer:
        if self._get_call is not None:
            try:
                return await self._get_call(name, wanted)
            except ClientError as error:
                self._follow(error)
        reply = await self._client.get_object(**self._common, Key=name, **wanted)
        return await whole(reply["Body"].raw_stream)

    def _follow(self, error: ClientError) -> None:
        """After a redirect use the client from now on: it finds the bucket's region. Raises any other error again."""
        if code_of(error) not in _ELSEWHERE and not 300 <= status_of(error) < 400:
            raise error
        self._put_call = self._get_call = None

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port."""
        whole, after = self._prefix + prefix, self._prefix + start_after if start_after else ""

        def read(page: dict[str, Any]) -> Sequence[ObjectInfo]:
            nonlocal after
            found = []
            for row in page.get("Contents", ()):
                key, size = row["Key"], int(row["Size"])
                modified = int(row["LastModified"].timestamp() * 1000)
                if not key.startswith(whole) or key <= after or size < 0 or modified < 0:
                    raise Malformed(f"a listing of {whole!r} after {after!r} with {key!r}, {size} bytes, of {modified}")
                after = key
                found.append(ObjectInfo(key[len(self._prefix) :], size, modified))
            return found

        extra = {"StartAfter": after} if after else {}
        async for info in self._pages(prefix, read, **extra):
            yield info

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        whole, after = self._prefix + prefix, ""

        def read(page: dict[str, Any]) -> Sequence[str]:
            nonlocal after
            found = []
            for row in page.get("CommonPrefixes", ()):
                folder = row["Prefix"]
                if not folder.startswith(whole) or not folder.endswith("/") or folder <= after:
                    raise Malformed(f"a listing of {whole!r} after {after!r} with the folder {folder!r}")
                after = folder
                found.append(folder[len(whole) : -1])
            return found

        async for name in self._pages(prefix, read, Delimiter="/"):
            yield name

    async def _pages(
        self, prefix: str, read: Callable[[dict[str, Any]], Sequence[T]], **query: str
    ) -> AsyncIterator[T]:
        """The results of `read` for each page. Raises Malformed for a listing that never ends."""
        pages, token = Pages(), dict[str, str]()

        asked = {"Name": self._bucket, "Prefix": self._prefix + prefix, **query}

        async def ask() -> tuple[Sequence[T], str]:
            page = await self._client.list_objects_v2(**self._common, Prefix=self._prefix + prefix, **query, **token)
            _check_echo(page, asked)
            rows, following = read(page), page.get("NextContinuationToken", "")
            if page["IsTruncated"] != bool(following):
                raise Malformed(f"a listing with IsTruncated {page['IsTruncated']} that continues at {following!r}")
            if following:
                pages.check(following, new=bool(rows))
            return rows, following

        while True:
            rows, following = await self._call(prefix, ask)
            for row in rows:
                yield row
            if not following:
                return
            token = {"ContinuationToken": following}

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port."""
        names = [self._prefix + key for key in keys]
        for begin in range(0, len(names), _DELETE_BATCH):
            batch = names[begin : begin + _DELETE_BATCH]
            await self._call(batch[0][len(self._prefix) :], partial(self._delete, batch))

    async def _delete(self, names: Sequence[str]) -> None:
        reply = await self._client.delete_objects(**self._common, Delete={"Objects": [{"Key": name} for name in names]})
        failed = [row for row in reply.get("Errors", ()) if row.get("Code") != "NoSuchKey"]
        if failed:
            raise _of_delete(failed[0], self._named(str(failed[0].get("Key"))))
        deleted = {row.get("Key") for field in ("Deleted", "Errors") for row in reply.get(field, ())}
        if not deleted.issuperset(names):
            raise Malformed(f"the reply names {len(deleted)} of {len(names)} keys to delete")

    def _named(self, key: str) -> str:
        """The object's name in errors: bucket, whole key, and region."""
        return f"s3://{self._bucket}/{key} (region {self._client.meta.region_name or 'unknown'})"

    async def _call(
        self,
        key: str,
        ask: Callable[[], Awaitable[T]],
        most_bytes: int = MOST_BYTES,
        usual_bytes: int = USUAL_BYTES,
    ) -> T:
        """Call `ask`, and retry at once the errors for which S3 asks that; reports each retry to `on_retry`. Other
        errors go to the caller, which waits longer between its retries.
        """
        name = self._named(self._prefix + key)
        for pause_s in _PAUSES_S:
            try:
                async with calling(name, self._patience_s, most_bytes, usual_bytes=usual_bytes):
                    return await ask()
            except Unavailable as problem:
                if problem.cause not in _AT_ONCE:
                    raise
                self._on_retry(problem.cause)
            await asyncio.sleep(random.uniform(0, pause_s))
        async with calling(name, self._patience_s, most_bytes, usual_bytes=usual_bytes):
            return await ask()


def _of_delete(row: dict[str, Any], what: str) -> PortError:
    """Translate an error row: DeleteObjects answers 200 and lists each key that it did not delete."""
    error = {"Code": str(row.get("Code")), "Message": str(row.get("Message"))}
    found = translate(ClientError({"Error": error}, "DeleteObjects"), f"delete {what}")
    return found if isinstance(found, Denied) else Unavailable(str(found), "delete")


def _check_root(name: str) -> Callable[..., None]:
    """A check of a reply's status and root: botocore reads any other document, such as XHTML, as an empty reply."""

    def check(response_dict: dict[str, Any], **_: Any) -> None:
        status, root = response_dict["status_code"], _ROOT.match(response_dict["body"])
        if status < 300 and (status != 200 or root is None or root[1] != name.encode()):
            raise Malformed(f"status {status} {'with' if root and root[1] == name.encode() else 'without'} a {name}")

    return check


def _check_echo(page: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """Raises Malformed if the listing says that it answers another question, such as one from a proxy's cache.

    Some servers leave out what was asked. The bucket is only compared if both are plain names: an access point has the
    name of its bucket, and a tenant may be before a colon.
    """
    for field, wanted in asked.items():
        found = page.get(field) or wanted
        if field == "Name":
            plain = _PLAIN.fullmatch(wanted) and _PLAIN.fullmatch(found) and not wanted.endswith("-s3alias")
            found = found if plain else wanted
        if found != wanted:
            raise Malformed(f"a listing with {field} {str(found)[:80]!r}, not {wanted[:80]!r}")


@contextlib.asynccontextmanager
async def open_s3_store(
    url: str,
    *,
    session: Session | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    server_side_encryption: str | None = None,
    kms_key_id: str | None = None,
    expected_bucket_owner: str | None = None,
    request_checksum_calculation: Literal["when_required", "when_supported"] = "when_supported",
    on_retry: Callable[[str], None] = lambda cause: None,
    connect_timeout_s: float = 5,
    read_timeout_s: float = 60,
) -> AsyncIterator[S3Store]:
    """The store at `s3://bucket/prefix`, with the credentials of the session. Raises ValueError.

    `on_retry` receives the cause of each immediate retry.
    """
    place = store_place(url)
    if not isinstance(place, Bucket):
        raise ValueError(f"{url} is not in S3")
    bucket, prefix = place.name, place.prefix
    extras = {}
    if server_side_encryption:
        extras["ServerSideEncryption"] = server_side_encryption
    if kms_key_id:
        extras["SSEKMSKeyId"] = kms_key_id
    session = session or new_session(region)
    config = client_config(
        session,
        max_pool_connections=64,
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1},
        request_checksum_calculation=request_checksum_calculation,
        response_checksum_validation=request_checksum_calculation,
        s3={"addressing_style": "path"} if endpoint_url and place.region is None else None,  # an ARN has no path
    )
    async with session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=config) as client:
        client.meta.events.register("before-parse.s3.ListObjectsV2", _check_root("ListBucketResult"))
        client.meta.events.register("before-parse.s3.DeleteObjects", _check_root("DeleteResult"))
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
            sums=checksum,
            on_retry=on_retry,
        )

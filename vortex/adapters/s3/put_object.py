"""PutObject with `If-None-Match: *`: with thousands of partitions the call that publishing consists of.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html.
"""

from __future__ import annotations

import base64
from typing import Any

from botocore.utils import percent_encode
from isal import isal_zlib

from vortex.adapters.aws.exchange import LARGE, Malformed, whole
from vortex.adapters.aws.signed_call import Prepared

CHECKSUM = "x-amz-checksum-crc32"
SAFE = "/-._~"
"""Characters of a key that stand for themselves in a URL."""
_DIRECTORY = "--x-s3"
"""Ends the name of a directory bucket, which has sessions of its own."""


def is_ordinary(bucket: str) -> bool:
    """Whether calls can be prepared for it: not for a directory bucket, nor for an access point."""
    return not bucket.endswith(_DIRECTORY) and ":" not in bucket


def crc32_of(body: bytes) -> str:
    """The sum as S3 writes it."""
    return base64.b64encode(isal_zlib.crc32(body).to_bytes(4, "big")).decode()


class PutCall:
    """Puts into one bucket. Made by `prepare`."""

    def __init__(self, prepared: Prepared, base: str, checksum: bool) -> None:
        self._prepared, self._base, self._checksum = prepared, base, checksum

    @classmethod
    async def prepare(cls, client: Any, bucket: str, arguments: dict[str, str], *, checksum: bool) -> PutCall | None:
        """A call over an aiobotocore client of S3; nothing is sent. `arguments` go along each time.

        `checksum`: send one (CRC32), as clients of AWS do by default. None for a bucket that is not an ordinary one.
        """
        if not is_ordinary(bucket):
            return None
        extra = {"ChecksumCRC32": "AAAAAA=="} if checksum else {}
        prepared = await Prepared.of(
            client, "PutObject", Bucket=bucket, Key="k", ContentType="-", IfNoneMatch="*", **arguments, **extra
        )
        if checksum:
            # The signer is to know that the body's sum is among the headers: over TLS it then adds none of its own.
            told = {"algorithm": "crc32", "in": "header", "name": CHECKSUM}
            prepared.context["checksum"] = {"request_algorithm": told}
        return cls(prepared, prepared.url.removesuffix("k"), checksum)

    async def __call__(self, key: str, body: bytes, content_type: str) -> None:
        """The object is there, and is new. Raises what `Prepared.send` does, and ClientError."""
        headers = {"Content-Type": content_type}
        if self._checksum:
            headers[CHECKSUM] = crc32_of(body)
        if len(body) >= LARGE:
            # Waiting for what the server says costs a round trip, and spares one that is overloaded, or has the key,
            # no more than the body.
            headers["Expect"] = "100-continue"
        url = self._base + percent_encode(key, safe=SAFE)
        answer = await whole(await self._prepared.send(body, url=url, headers=headers))
        if answer.status >= 300:
            raise await self._prepared.refusal(answer)
        if answer.body.lstrip().startswith(b"<"):
            raise Malformed(f"status {answer.status} to a put, with a document")
        check_created(answer.status, answer.headers.get("ETag"))


def check_created(status: int, etag: str | None) -> None:
    """Raises Malformed unless S3 itself says that it has the object: others answer 200, too, such as a log-in page."""
    if status != 200 or not etag:
        raise Malformed(f"status {status} to a put, {'with' if etag else 'without'} an ETag")

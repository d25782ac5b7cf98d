"""PutObject with `If-None-Match: *`, the most frequent call of publishing.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from isal import isal_zlib

from vortex.adapters.aws.exchange import LARGE, Malformed, whole
from vortex.adapters.aws.signed_call import Prepared

CHECKSUM = "x-amz-checksum-crc32"
_SAFE = "/-._~"
"""Characters of a key that are not escaped in a URL."""
_ESCAPED = {code: quote(chr(code), safe=_SAFE) for code in range(128)}
_BOM = b"\xef\xbb\xbf"
_NOT_OF_S3 = (b"<", b"{")
"""Beginnings of a body that is no reply to a put, whatever its headers say: S3 returns none."""
_DIRECTORY = "--x-s3"
"""Suffix of a directory bucket's name; such buckets need a different kind of session."""


def is_ordinary(bucket: str) -> bool:
    """Whether calls can be prepared for the bucket: it is neither a directory bucket nor an access point."""
    return not bucket.endswith(_DIRECTORY) and ":" not in bucket


def escaped(key: str) -> str:
    """The key as part of a URL. Most keys are ASCII; `urllib` escapes byte by byte."""
    return key.translate(_ESCAPED) if key.isascii() else quote(key, safe=_SAFE)


def crc32_of(body: bytes) -> str:
    """The CRC32 checksum as S3 writes it."""
    return base64.b64encode(isal_zlib.crc32(body).to_bytes(4, "big")).decode()


class PutCall:
    """Puts objects into one bucket. Create it with `prepare`."""

    def __init__(self, prepared: Prepared, base: str, checksum: bool) -> None:
        self._prepared, self._base, self._checksum = prepared, base, checksum

    @classmethod
    async def prepare(cls, client: Any, bucket: str, arguments: dict[str, str], *, checksum: bool) -> PutCall | None:
        """Prepare the call for an aiobotocore client of S3. Sends nothing. Each call has `arguments`.

        `checksum`: send a CRC32, as AWS's clients do by default. None for a directory bucket or access point.
        """
        if not is_ordinary(bucket):
            return None
        extra = {"ChecksumCRC32": "AAAAAA=="} if checksum else {}
        prepared = await Prepared.of(
            client, "PutObject", Bucket=bucket, Key="k", ContentType="-", IfNoneMatch="*", **arguments, **extra
        )
        if checksum:
            # Tell the signer that the headers contain the body's checksum: over TLS it then adds no other.
            algorithm = {"algorithm": "crc32", "in": "header", "name": CHECKSUM}
            prepared.context["checksum"] = {"request_algorithm": algorithm}
        return cls(prepared, prepared.url.removesuffix("k"), checksum)

    async def __call__(self, key: str, body: bytes, content_type: str) -> None:
        """Create the object. Raises ClientError (also if it exists), and what `Prepared.send` raises."""
        headers = {"Content-Type": content_type}
        if self._checksum:
            headers[CHECKSUM] = crc32_of(body)
        if len(body) >= LARGE:
            # Costs a round trip, but a server that is overloaded or has the key answers before the body is sent.
            headers["Expect"] = "100-continue"
        url = self._base + escaped(key)
        answer = await whole(await self._prepared.send(body, url=url, headers=headers))
        if answer.status >= 300:
            raise await self._prepared.refusal(answer)
        if answer.body.removeprefix(_BOM).lstrip().startswith(_NOT_OF_S3):
            raise Malformed(f"status {answer.status} to a put, with a body of XML, HTML or JSON")
        check_created(answer.status, answer.headers.get("ETag"))


def check_created(status: int, etag: str | None) -> None:
    """Raises Malformed unless the reply has S3's ETag: a log-in page of a proxy also answers 200."""
    if status != 200 or not etag:
        raise Malformed(f"status {status} to a put, {'with' if etag else 'without'} an ETag")

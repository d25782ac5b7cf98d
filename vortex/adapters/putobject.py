"""PutObject with `If-None-Match: *`: with thousands of partitions the call that publishing consists of.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html.
"""

from __future__ import annotations

import base64
import io
from typing import Any

from botocore.utils import percent_encode
from isal import isal_zlib

from vortex.adapters.exchange import whole_body
from vortex.adapters.prepared import Prepared

_CHECKSUM = "x-amz-checksum-crc32"
SAFE = "/-._~"
"""Characters of a key that stand for themselves in a URL."""
_LARGE = 2**20
"""Bytes from which a body goes only once the server says that it wants it (`Expect`): waiting for that costs a round
trip, and spares a bucket that is overloaded, or has the key, no more than the body.
"""
_IN_PIECES = 16 * 2**20
"""Bytes from which a body goes in pieces: what is written at once is over TLS encrypted at once, into memory beside it.
aiohttp copies a BytesIO to learn its length, so smaller bodies go as they are.
"""
_DIRECTORY = "--x-s3"
"""Ends the name of a directory bucket, which has sessions of its own."""


def is_ordinary(bucket: str) -> bool:
    """Whether calls can be prepared for it: not for a directory bucket, nor for an access point."""
    return not bucket.endswith(_DIRECTORY) and ":" not in bucket


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
            told = {"algorithm": "crc32", "in": "header", "name": _CHECKSUM}
            prepared.context["checksum"] = {"request_algorithm": told}
        return cls(prepared, prepared.url.removesuffix("k"), checksum)

    async def __call__(self, key: str, body: bytes, content_type: str) -> int:
        """The reply's status: 200, or 412 where the key exists. Raises BotoCoreError."""
        headers = {"Content-Type": content_type}
        if self._checksum:
            headers[_CHECKSUM] = base64.b64encode(isal_zlib.crc32(body).to_bytes(4, "big")).decode()
        if len(body) >= _LARGE:
            headers["Expect"] = "100-continue"
        data = io.BytesIO(body) if len(body) >= _IN_PIECES else body
        reply = await self._prepared.send(data, url=self._base + percent_encode(key, safe=SAFE), headers=headers)
        await whole_body(reply, self._base)
        return reply.status

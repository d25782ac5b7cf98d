"""GetObject of a part of an object: what following logs, and reading their segments, consists of.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html. S3 keeps checksums of whole objects, so of a
part none is checked here; what is read of segments has digests of its own.
"""

from __future__ import annotations

from typing import Any

from botocore.utils import percent_encode

from vortex.adapters.exchange import whole_body
from vortex.adapters.prepared import Prepared
from vortex.adapters.putobject import SAFE, is_ordinary

_MISSING = b"<Code>NoSuchKey</Code>"


class GetCall:
    """Reads out of one bucket. Made by `prepare`."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared, self._base = prepared, prepared.url.removesuffix("k")

    @classmethod
    async def prepare(cls, client: Any, bucket: str, arguments: dict[str, str]) -> GetCall | None:
        """A call over an aiobotocore client of S3; nothing is sent. `arguments` go along each time.

        None for a bucket that is not an ordinary one.
        """
        if not is_ordinary(bucket):
            return None
        return cls(await Prepared.of(client, "GetObject", Bucket=bucket, Key="k", **arguments))

    async def __call__(self, key: str, span: str) -> tuple[int, bytes, str]:
        """Status, body and Content-Range; `span` is a Range. The status is 404 where the key does not exist, and 400
        for whatever else there is no answer to here. Raises BotoCoreError.
        """
        url = self._base + percent_encode(key, safe=SAFE)
        reply = await self._prepared.send(None, url=url, headers={"Range": span})
        body = await whole_body(reply, url)
        if reply.status in (200, 206):
            return reply.status, body, reply.headers.get("Content-Range", "")
        return 404 if reply.status == 404 and _MISSING in body else 400, b"", ""

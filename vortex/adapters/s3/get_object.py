"""GetObject of a part of an object: what following logs, and reading their segments, consists of.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html. S3 keeps checksums of whole objects, so of a
mere part none is checked here; what is read of segments has digests of its own. A whole object without a checksum is
asked for as a part that begins at 0: the reply then tells at least which bytes it has, and of how many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from botocore.utils import percent_encode

from vortex.adapters.aws.exchange import Answer, Malformed, whole
from vortex.adapters.aws.signed_call import Prepared
from vortex.adapters.s3.put_object import CHECKSUM, SAFE, crc32_of, is_ordinary

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes wanted of an object: `length` from `first` on, or to its end; without `first` its last `length`."""

    first: int | None = 0
    length: int | None = None

    @property
    def header(self) -> str:
        """As a Range."""
        if self.first is None:
            return f"bytes=-{self.length}"
        return f"bytes={self.first}-" + ("" if self.length is None else str(self.first + self.length - 1))

    def of_whole(self, body: bytes) -> bytes:
        """These bytes of an object that came whole."""
        if self.first is None:
            return body[-(self.length or 0) :]
        return body[self.first :] if self.length is None else body[self.first : self.first + self.length]

    def of(self, answer: Answer) -> tuple[bytes, int]:
        """The bytes, and the object's size. Raises Malformed where the reply has others, or is no object at all."""
        told = answer.headers.get("Content-Range", "")
        if answer.status == 200 and (self == Span() or not answer.body):  # of nothing there is no part
            return whole_object(answer), len(answer.body)
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if answer.status == 206 and match:
            first, last, size = map(int, match.groups())
            begin = max(0, size - (self.length or 0)) if self.first is None else self.first
            end = size if self.length is None else min(size, begin + self.length)
            if (first, last + 1) == (begin, end) and end - begin == len(answer.body):
                if end - begin == size:
                    _check_sum(answer)
                return answer.body, size
        raise Malformed(
            f"status {answer.status} with {len(answer.body)} bytes of {told[:80] or 'no range'} to {self.header}"
        )


def whole_object(answer: Answer) -> bytes:
    """The body of a reply to a GetObject of everything. Raises Malformed where S3 did not say it."""
    kind, etag = answer.headers.get("Content-Type", ""), answer.headers.get("ETag")
    if answer.status != 200 or not etag or kind.startswith("text/html"):
        raise Malformed(f"status {answer.status}, ETag {etag} and {kind or 'no type'} to a get of an object")
    _check_sum(answer)
    return answer.body


def _check_sum(answer: Answer) -> None:
    """Raises Malformed where a whole object's checksum is told, and is that of other bytes."""
    told = answer.headers.get(CHECKSUM, "")
    if told and told != crc32_of(answer.body):
        raise Malformed(f"an object whose {CHECKSUM} is not {told[:40]}")


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

    async def __call__(self, key: str, wanted: dict[str, str]) -> Answer:
        """A reply that is no error; `wanted` may have a Range. Raises what `Prepared.send` does, and ClientError."""
        url = self._base + percent_encode(key, safe=SAFE)
        answer = await whole(await self._prepared.send(None, url=url, headers=wanted))
        if answer.status >= 300:
            raise await self._prepared.refusal(answer)
        return answer

"""GetObject of a range of an object, the most frequent call of following logs and of reading their segments.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html. S3 has checksums only of whole objects, so
ranges are not checked here; segments contain their own digests. A whole object without a checksum is requested as a
range from 0: the reply then states which bytes it contains and the object's size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vortex.adapters.aws.exchange import Answer, Malformed, whole
from vortex.adapters.aws.signed_call import Prepared
from vortex.adapters.s3.put_object import CHECKSUM, crc32_of, escaped, is_ordinary

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Span:
    """A byte range of an object: `length` bytes from `first`, or to its end; without `first` the last `length`."""

    first: int | None = 0
    length: int | None = None

    @property
    def header(self) -> str:
        """The Range header."""
        if self.first is None:
            return f"bytes=-{self.length}"
        return f"bytes={self.first}-" + ("" if self.length is None else str(self.first + self.length - 1))

    def of_whole(self, body: bytes) -> bytes:
        """The range's bytes, cut from a whole object."""
        if self.first is None:
            return body[-(self.length or 0) :]
        return body[self.first :] if self.length is None else body[self.first : self.first + self.length]

    def of(self, answer: Answer) -> tuple[bytes, int]:
        """The bytes, and the object's size. Raises Malformed if the reply has another range, or is not an object."""
        range_ = answer.headers.get("Content-Range", "")
        if answer.status == 200 and (self == Span() or not answer.body):  # an empty object has no range
            return whole_object(answer), len(answer.body)
        match = _CONTENT_RANGE.fullmatch(range_.strip())
        if answer.status == 206 and match:
            first, last, size = map(int, match.groups())
            begin = max(0, size - (self.length or 0)) if self.first is None else self.first
            end = size if self.length is None else min(size, begin + self.length)
            if (first, last + 1) == (begin, end) and end - begin == len(answer.body):
                if end - begin == size:
                    _check_sum(answer)
                return answer.body, size
        raise Malformed(
            f"status {answer.status} with {len(answer.body)} bytes of {range_[:80] or 'no range'} for {self.header}"
        )


def whole_object(answer: Answer) -> bytes:
    """The body of a reply to a GetObject without a range. Raises Malformed if it is not from S3."""
    kind, etag = answer.headers.get("Content-Type", ""), answer.headers.get("ETag")
    if answer.status != 200 or not etag or kind.lower().startswith("text/html"):
        raise Malformed(f"status {answer.status}, ETag {etag} and {kind or 'no type'} to a get of an object")
    _check_sum(answer)
    return answer.body


def _check_sum(answer: Answer) -> None:
    """Raises Malformed if the reply has a checksum of the whole object that does not match."""
    checksum = answer.headers.get(CHECKSUM, "")
    if checksum and checksum != crc32_of(answer.body):
        raise Malformed(f"an object whose {CHECKSUM} is not {checksum[:40]}")


class GetCall:
    """Reads objects of one bucket. Create it with `prepare`."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared, self._base = prepared, prepared.url.removesuffix("k")

    @classmethod
    async def prepare(cls, client: Any, bucket: str, arguments: dict[str, str]) -> GetCall | None:
        """Prepare the call for an aiobotocore client of S3. Sends nothing. Each call has `arguments`.

        None for a directory bucket or access point.
        """
        if not is_ordinary(bucket):
            return None
        return cls(await Prepared.of(client, "GetObject", Bucket=bucket, Key="k", **arguments))

    async def __call__(self, key: str, wanted: dict[str, str]) -> Answer:
        """A successful reply; `wanted` may have a Range. Raises ClientError, and what `Prepared.send` raises."""
        url = self._base + escaped(key)
        answer = await whole(await self._prepared.send(None, url=url, headers=wanted))
        if answer.status >= 300:
            raise await self._prepared.refusal(answer)
        return answer

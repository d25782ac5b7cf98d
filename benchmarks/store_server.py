"""An S3 in memory: path-style PUT (also if absent), GET (ranges), HEAD, LIST v2 and DELETE, for any bucket name.

Protocol: https://docs.aws.amazon.com/AmazonS3/latest/API/. `/-/rows/<bucket>/<prefix>` returns the number of
objects, rows and bytes, and a digest of all lines. The server counts them, so that counting is not measured.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from isal import igzip
from xxhash import xxh3_64_intdigest

from benchmarks.http_server import Reply, Request, serve, unchunked

_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_MOST_KEYS = 1000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Stored:
    """One object."""

    body: bytes
    etag: str
    modified: datetime
    headers: dict[str, str]


@dataclass(slots=True)
class Bucket:
    """Objects, and their keys in order (of their UTF-8 bytes, as S3 lists them)."""

    objects: dict[str, Stored] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def put(self, key: str, stored: Stored) -> None:
        """Add or replace."""
        if key not in self.objects:
            insort(self.keys, key, key=str.encode)
        self.objects[key] = stored

    def delete(self, key: str) -> None:
        """Remove, if it is there."""
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key.encode(), key=str.encode)]

    def below(self, prefix: str, after: str = "") -> list[str]:
        """The keys that begin with `prefix` and are greater than `after`."""
        begin = bisect_left(self.keys, prefix.encode(), key=str.encode)
        begin = max(begin, bisect_right(self.keys, after.encode(), key=str.encode) if after else 0)
        found = []
        for key in self.keys[begin:]:
            if not key.startswith(prefix):
                break
            found.append(key)
        return found


class Store:
    """All buckets. A bucket exists from its first mention."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self.calls: Counter[str] = Counter()
        self._methods: dict[str, Callable[[Request, Bucket, str], Reply]] = {
            "PUT": self._put,
            "GET": self._get,
            "HEAD": self._get,
            "DELETE": self._delete,
            "POST": self._post,
        }

    def handle(self, request: Request) -> Reply:
        """One API call, or a question at `/-/`."""
        bucket, _, key = request.path[1:].partition("/")
        if bucket == "-":
            return self._facts(key)
        self.calls[request.method if key else f"{request.method} bucket"] += 1
        method = self._methods.get(request.method)
        if method is None:
            return _error(405, "MethodNotAllowed", request.method)
        return method(request, self._buckets.setdefault(bucket, Bucket()), key)

    def _put(self, request: Request, bucket: Bucket, key: str) -> Reply:
        if not key:
            return Reply()
        condition = request.headers.get("if-none-match")
        if condition is not None and condition != "*":
            return _error(501, "NotImplemented", f"If-None-Match: {condition}")
        if condition and key in bucket.objects:
            return _error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        body = request.body
        self.calls["PUT bytes"] += len(body)
        if "aws-chunked" in request.headers.get("content-encoding", ""):
            body, _ = unchunked(body)  # signatures and trailers are not looked at
        kept = {n: v for n, v in request.headers.items() if n == "content-type" or n.startswith("x-amz-meta-")}
        etag = f'"{md5(body, usedforsecurity=False).hexdigest()}"'
        bucket.put(key, Stored(body, etag, datetime.now(UTC), kept))
        return Reply(headers={"ETag": etag})

    def _get(self, request: Request, bucket: Bucket, key: str) -> Reply:
        if not key:
            return self._list(request, bucket) if request.method == "GET" else Reply()
        stored = bucket.objects.get(key)
        if stored is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            **{name: value for name, value in stored.headers.items() if name != "content-type"},
            "ETag": stored.etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        content_type = stored.headers.get("content-type", "binary/octet-stream")
        asked = _RANGE.match(request.headers.get("range", ""))
        if not asked or asked[0] == "bytes=-":
            return Reply(200, (stored.body,), content_type, headers)
        size = len(stored.body)
        span = _span(asked[1], asked[2], size)
        if span is None:
            return _error(416, "InvalidRange", "The requested range is not satisfiable")
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return Reply(206, (memoryview(stored.body)[span[0] : span[1]],), content_type, headers)

    def _list(self, request: Request, bucket: Bucket) -> Reply:
        query = request.query
        if "list-type" not in query:
            return Reply(200, (f"{_XML}<LocationConstraint {_NAMESPACE}/>".encode(),))
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = min(int(query.get("max-keys", _MOST_KEYS)), _MOST_KEYS)
        rows, last, truncated = page_of(bucket.below(prefix, after), prefix, delimiter, after, most)

        def shown(text: str) -> str:
            return quote(text, safe="/") if query.get("encoding-type") == "url" else escape(text)

        parts = [f"{_XML}<ListBucketResult {_NAMESPACE}><Prefix>{shown(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"]
        parts.append(f"<KeyCount>{len(rows)}</KeyCount><IsTruncated>{str(truncated).lower()}</IsTruncated>")
        if query.get("encoding-type") == "url":
            parts.append("<EncodingType>url</EncodingType>")
        if truncated:
            parts.append(f"<NextContinuationToken>{escape(last)}</NextContinuationToken>")
        for name, folder in rows:
            if folder:
                parts.append(f"<CommonPrefixes><Prefix>{shown(name)}</Prefix></CommonPrefixes>")
                continue
            stored = bucket.objects[name]
            parts.append(
                f"<Contents><Key>{shown(name)}</Key><LastModified>{stored.modified:%Y-%m-%dT%H:%M:%S.000Z}"
                f"</LastModified><ETag>{escape(stored.etag)}</ETag><Size>{len(stored.body)}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
        return Reply(200, ("".join([*parts, "</ListBucketResult>"]).encode(),))

    def _delete(self, request: Request, bucket: Bucket, key: str) -> Reply:
        bucket.delete(key)
        return Reply(204)

    def _post(self, request: Request, bucket: Bucket, key: str) -> Reply:
        if key or "delete" not in request.query:
            return _error(501, "NotImplemented", "POST")
        gone = []
        for element in ElementTree.fromstring(request.body).iter():
            if element.tag.rpartition("}")[2] == "Key":
                bucket.delete(element.text or "")
                gone.append(f"<Deleted><Key>{escape(element.text or '')}</Key></Deleted>")
        return Reply(200, (f"{_XML}<DeleteResult {_NAMESPACE}>{''.join(gone)}</DeleteResult>".encode(),))

    def _facts(self, question: str) -> Reply:
        """`rows/<bucket>/<prefix>`: what lies there; `stats`: the calls so far; `clear`: forget everything."""
        kind, _, place = question.partition("/")
        if kind == "rows":
            bucket, _, prefix = place.partition("/")
            answer = counted(self._buckets.get(bucket, Bucket()), prefix)
        else:
            answer = dict(self.calls)
        if kind == "clear":
            self._buckets.clear()
            self.calls.clear()
        return Reply(200, (json.dumps(answer).encode(),), "application/json")


def counted(bucket: Bucket, prefix: str) -> dict[str, int]:
    """Objects, rows, compressed and raw bytes of the gzip objects below `prefix`, and a digest of all lines.

    The digest adds up the hashes of all lines, so stores with the same lines have the same digest, in whatever order.
    """
    found = {"objects": 0, "rows": 0, "bytes": 0, "raw_bytes": 0, "digest": 0}
    for key in bucket.below(prefix):
        body = bucket.objects[key].body
        whole: bytes = igzip.decompress(body)  # type: ignore[no-untyped-call]  # all members of it
        lines = whole.split(b"\n")
        if lines[-1]:
            raise ValueError(f"{key} does not end with a line break")
        lines.pop()
        found["objects"] += 1
        found["rows"] += len(lines)
        found["bytes"] += len(body)
        found["raw_bytes"] += sum(map(len, lines)) + len(lines)
        found["digest"] = found["digest"] + sum(map(xxh3_64_intdigest, lines)) & _MASK
    return found


def page_of(
    keys: list[str], prefix: str, delimiter: str, after: str, most: int
) -> tuple[list[tuple[str, bool]], str, bool]:
    """Up to `most` keys or folders (True), where the next page begins, and whether there is one."""
    rows: list[tuple[str, bool]] = []
    last = ""
    for key in keys:
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        name, folder = (key[: cut + len(delimiter)], True) if cut >= 0 else (key, False)
        # A page that ends within a folder continues after the folder: its last key covers all of it.
        if folder and (after.startswith(name) or (rows and rows[-1][0] == name)):
            last = key
            continue
        if len(rows) == most:
            return rows, last, True
        rows.append((name, folder))
        last = key
    return rows, last, False


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    """The half-open range that a Range header asks for; None where it lies outside."""
    if not first:
        wanted = int(last)
        return (max(0, size - wanted), size) if wanted and size else None
    begin, end = int(first), min(size, int(last) + 1) if last else size
    return (begin, end) if begin < end else None


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, (f"{_XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode(),))


def main() -> None:
    """Say that it is ready, and answer."""
    serve(Store().handle, {})


if __name__ == "__main__":
    main()

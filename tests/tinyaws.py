"""A minimal S3, DynamoDB and Kinesis in memory, for one table and one stream: the origin behind a fault proxy."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from collections.abc import Callable
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request

PAGE = 2
"""Rows of a listing and of a scan at a time."""
SHARD = "shardId-000000000000"
_LAST_HASH = str(2**128 - 1)
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
Row = dict[str, dict[str, Any]]


class TinyAws:
    """An origin for `FaultProxy`. Tests can read and change its content."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        """Objects by key, of any bucket."""
        self.sums = True
        """Whether checksums of objects are stored, and returned on request."""
        self.rows: dict[str, Row] = {}
        """Leases by `leaseKey`, as DynamoDB's JSON."""
        self.records = [(str(n), f'{{"n": {n}}}'.encode()) for n in range(3)]
        """Sequence numbers and data of the one shard."""

    async def __call__(self, request: Request) -> Reply:
        """The true answer."""
        if request.service == "s3":
            answer: Callable[[Request, str, dict[str, str]], Reply] = getattr(self, f"_{request.call}")
            path, query = (
                urlsplit(request.target).path,
                parse_qs(urlsplit(request.target).query, keep_blank_values=True),
            )
            return answer(request, unquote(path).strip("/").partition("/")[2], {k: v[0] for k, v in query.items()})
        answer = getattr(self, f"_{request.call}")(json.loads(request.body))
        if isinstance(answer, Reply):
            return answer
        return Reply(
            200, headers=Headers([("Content-Type", "application/x-amz-json-1.1")]), body=json.dumps(answer).encode()
        )

    # S3.

    def _PutObject(self, request: Request, key: str, query: dict[str, str]) -> Reply:
        if key in self.objects and request.headers.value("if-none-match") == "*":
            return error_reply("s3", 412, "PreconditionFailed", "it is there")
        self.objects[key] = request.body
        return Reply(200, headers=Headers([("ETag", _etag(request.body))]))

    def _GetObject(self, request: Request, key: str, query: dict[str, str]) -> Reply:
        if key not in self.objects:
            return error_reply("s3", 404, "NoSuchKey", "no such key")
        whole = self.objects[key]
        crc = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
        headers = Headers([("ETag", _etag(whole)), ("Content-Type", "application/octet-stream")])
        if self.sums and request.headers.value("x-amz-checksum-mode") == "ENABLED":
            headers.append(("x-amz-checksum-crc32", crc))
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.value("range"))
        if match is None:
            return Reply(200, headers=headers, body=whole)
        begin = int(match[1]) if match[1] else max(0, len(whole) - int(match[2]))
        end = min(len(whole), int(match[2]) + 1) if match[1] and match[2] else len(whole)
        if begin >= len(whole):
            return error_reply("s3", 416, "InvalidRange", "beyond its end")
        extent = ("Content-Range", f"bytes {begin}-{end - 1}/{len(whole)}")
        return Reply(206, "Partial Content", Headers([*headers, extent]), whole[begin:end])

    def _ListObjectsV2(self, request: Request, key: str, query: dict[str, str]) -> Reply:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        names = {}
        for name in sorted(self.objects):
            if name.startswith(prefix):
                cut = name.find(delimiter, len(prefix)) if delimiter else -1
                names[name if cut < 0 else name[: cut + 1]] = cut >= 0
        rows = [(name, folder) for name, folder in names.items() if name > after]
        parts = [f"{_XML}<ListBucketResult><Prefix>{quote(prefix)}</Prefix><EncodingType>url</EncodingType>"]
        parts.append(f"<IsTruncated>{str(len(rows) > PAGE).lower()}</IsTruncated>")
        if len(rows) > PAGE:
            parts.append(f"<NextContinuationToken>{escape(rows[PAGE - 1][0])}</NextContinuationToken>")
        for name, folder in rows[:PAGE]:
            if folder:
                parts.append(f"<CommonPrefixes><Prefix>{quote(name)}</Prefix></CommonPrefixes>")
            else:
                size = len(self.objects[name])
                parts.append(
                    f"<Contents><Key>{quote(name)}</Key><LastModified>2026-11-29T16:00:00.000Z</LastModified>"
                    f"<Size>{size}</Size></Contents>"
                )
        return Reply(200, body="".join([*parts, "</ListBucketResult>"]).encode())

    def _DeleteObjects(self, request: Request, key: str, query: dict[str, str]) -> Reply:
        names = [e.text or "" for e in ElementTree.fromstring(request.body).iter() if e.tag.endswith("Key")]
        for name in names:
            self.objects.pop(name, None)
        gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
        return Reply(200, body=f"{_XML}<DeleteResult>{gone}</DeleteResult>".encode())

    # DynamoDB.

    def _DescribeTable(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
        return {"Table": {"TableName": asked["TableName"], "TableStatus": "ACTIVE", "KeySchema": key}}

    def _Scan(self, asked: dict[str, Any]) -> dict[str, Any]:
        after = asked.get("ExclusiveStartKey", {}).get("leaseKey", {}).get("S", "")
        keys = sorted(key for key in self.rows if key > after)
        answer: dict[str, Any] = {"Items": [self.rows[key] for key in keys[:PAGE]]}
        if len(keys) > PAGE:
            answer["LastEvaluatedKey"] = {"leaseKey": {"S": keys[PAGE - 1]}}
        return answer

    def _GetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        row = self.rows.get(asked["Key"]["leaseKey"]["S"])
        return {"Item": row} if row else {}

    def _DeleteItem(self, asked: dict[str, Any]) -> dict[str, Any] | Reply:
        if not self._holds(asked):
            return error_reply("dynamodb", 400, "ConditionalCheckFailedException", "it does not hold")
        row = self.rows.pop(asked["Key"]["leaseKey"]["S"], None)
        return {"Attributes": row} if row and asked.get("ReturnValues") == "ALL_OLD" else {}

    def _holds(self, asked: dict[str, Any]) -> bool:
        """Whether the condition holds for the row."""
        names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})
        row = self.rows.get(asked["Key"]["leaseKey"]["S"], {})
        for condition in asked["ConditionExpression"].split(" AND "):
            if absent := re.fullmatch(r"attribute_not_exists\((#\w+)\)", condition):
                holds = names[absent[1]] not in row
            else:
                name, _, value = condition.partition(" = ")
                holds = row.get(names[name]) == values[value]
            if not holds:
                return False
        return True

    def _UpdateItem(self, asked: dict[str, Any]) -> dict[str, Any] | Reply:
        if not self._holds(asked):
            return error_reply("dynamodb", 400, "ConditionalCheckFailedException", "it does not hold")
        key = asked["Key"]["leaseKey"]["S"]
        names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})
        row = dict(self.rows.get(key, {}))
        row["leaseKey"] = {"S": key}
        clauses = re.split(r" ?\b(SET|ADD|REMOVE) ", asked["UpdateExpression"])[1:]
        for verb, terms in zip(clauses[::2], clauses[1::2], strict=True):
            for term in terms.split(", "):
                name, _, value = term.replace(" = ", " ").partition(" ")
                if verb == "REMOVE":
                    row.pop(names[name], None)
                elif verb == "ADD":
                    old = int(row.get(names[name], {"N": "0"})["N"])
                    row[names[name]] = {"N": str(old + int(values[value]["N"]))}
                else:
                    row[names[name]] = values[value]
        self.rows[key] = row
        return {"Attributes": row}

    # Kinesis.

    def _DescribeStreamSummary(self, asked: dict[str, Any]) -> dict[str, Any]:
        summary = {"StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/s"}
        answer = {"StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.7e9, "RetentionPeriodHours": 24}
        return {"StreamDescriptionSummary": summary | answer}

    def _ListShards(self, asked: dict[str, Any]) -> dict[str, Any]:
        span = {"StartingHashKey": "0", "EndingHashKey": _LAST_HASH}
        return {
            "Shards": [{"ShardId": SHARD, "HashKeyRange": span, "SequenceNumberRange": {"StartingSequenceNumber": "0"}}]
        }

    def _GetShardIterator(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"ShardIterator": "first"}

    def _GetRecords(self, asked: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        records = [
            {
                "SequenceNumber": number,
                "Data": base64.b64encode(data).decode(),
                "PartitionKey": "k",
                "ApproximateArrivalTimestamp": now,
            }
            for number, data in self.records
        ]
        return {"Records": records, "NextShardIterator": "next", "MillisBehindLatest": 0}


def _etag(body: bytes) -> str:
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'

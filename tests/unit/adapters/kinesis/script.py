"""A Kinesis service for tests: a script of answers on loopback, and the parts of replies."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from aiohttp import web

from vortex.core.model import Position, Start

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/events"
DATE = "Tue, 18 Dec 2018 07:05:09 GMT"
DATE_MS = 1_545_116_709_000
SHARD = "shardId-000000000000"
AFTER = Position(Start.AFTER_SEQUENCE_NUMBER, "5")
FULL_RANGE = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}


def answer(body: object, status: int = 200, date: str | None = DATE) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    response = web.Response(text=text, status=status, content_type="application/x-amz-json-1.1")
    if date is not None:
        response.headers["Date"] = date
    return response


def failure(code: str, message: str = "why", status: int = 400) -> web.Response:
    return answer({"__type": code, "message": message}, status)


def record_of(sequence: str, data: bytes, arrival: float = 1.5) -> dict[str, object]:
    return {
        "SequenceNumber": sequence,
        "ApproximateArrivalTimestamp": arrival,
        "Data": b64encode(data).decode(),
        "PartitionKey": "key",
        "EncryptionType": "NONE",
    }


def child(shard: str, *parents: str) -> dict[str, object]:
    return {"ShardId": shard, "ParentShards": parents, "HashKeyRange": FULL_RANGE}


def listed(shard: str, start: int, end: int, closed: bool = False, **parents: str) -> dict[str, object]:
    numbers = {"StartingSequenceNumber": "1"} | ({"EndingSequenceNumber": "9"} if closed else {})
    span = {"StartingHashKey": str(start), "EndingHashKey": str(end)}
    return {"ShardId": shard, "HashKeyRange": span, "SequenceNumberRange": numbers, **parents}


SUMMARY = {
    "StreamDescriptionSummary": {
        "StreamName": "events",
        "StreamARN": ARN,
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 48,
        "StreamCreationTimestamp": 1_545_000_000.123,
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
    }
}


class Script:
    """Answers by operation, in order, repeating the last; keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    def on(self, operation: str, *answers: Callable[[], web.Response]) -> None:
        self.answers[operation] = list(answers)

    async def handle(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].split(".")[1]
        self.asked.append((operation, await request.json()))
        answers = self.answers[operation]
        response: web.Response = (answers.pop(0) if len(answers) > 1 else answers[0])()
        return response


def page(*records: dict[str, object], **rest: object) -> Callable[[], web.Response]:
    return lambda: answer({"Records": records, "MillisBehindLatest": 0, "NextShardIterator": "next"} | rest)


HALF = 2**127
CLOSED = listed(SHARD, 0, 2**128 - 1, closed=True)
LEFT = listed("shardId-000000000001", 0, HALF - 1, ParentShardId=SHARD)
RIGHT = listed("shardId-000000000002", HALF, 2**128 - 1, ParentShardId=SHARD)

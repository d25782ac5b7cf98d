"""How the replayed Kinesis speaks: JSON, and CBOR, which the AWS SDK for Java speaks to Kinesis by default.

CBOR: RFC 8949. AWS gives times in milliseconds with tag 1, in both directions.
"""

from __future__ import annotations

import io
import json
import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.parsers import RpcV2CBORParser

from benchmarks.workload import Record

_INTEGER, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = 0, 2, 3, 4, 5, 6
_OPEN_ARRAY, _BREAK = b"\x9f", b"\xff"
_EPOCH = 1
_NUMBER, _TIME, _DATA, _KEY = "SequenceNumber", "ApproximateArrivalTimestamp", "Data", "PartitionKey"


@dataclass(frozen=True, slots=True)
class Wire:
    """One encoding of requests and replies. A page is what never changes of a GetRecords reply; `tail` ends it."""

    content: str
    loads: Callable[[bytes], dict[str, Any]]
    dumps: Callable[[dict[str, Any]], bytes]
    row: Callable[[str, Record, int], bytes]
    """A record with its sequence number; the last argument is its number in the shard."""
    page: Callable[[list[bytes]], bytes]
    tail: Callable[[int, str], bytes]
    """What follows a page: milliseconds behind the tip, and the next iterator."""
    cut: Callable[[bytes, int, int], bytes]
    """Some records of a page, as a page: for a client that begins within one, or asks for less."""


def _json_row(sequence: str, record: Record, number: int) -> bytes:
    return b'{"SequenceNumber":"%b","ApproximateArrivalTimestamp":%.3f,"Data":"%b","PartitionKey":"%d"}' % (
        sequence.encode(),
        record.arrival_ms / 1000,
        b64encode(record.data),
        number,
    )


def _json_tail(behind: int, token: str) -> bytes:
    return b',"MillisBehindLatest":%d,"NextShardIterator":"%b"}' % (behind, token.encode())


def _json_cut(page: bytes, first: int, end: int) -> bytes:
    return json.dumps({"Records": json.loads(page + b"}")["Records"][first:end]}).encode()[:-1]


@dataclass(frozen=True, slots=True)
class Time:
    """A time in a document, in epoch milliseconds."""

    ms: int


def cbor(value: Any) -> bytes:
    """A document of text, bytes, whole numbers of at least 0, fractions, times, None, lists and mappings."""
    match value:
        case None:
            return b"\xf6"
        case Time():
            return _head(_TAG, _EPOCH) + cbor(value.ms)
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(_INTEGER, value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return _head(_TEXT, len(raw := value.encode())) + raw
        case bytes():
            return _head(_BYTES, len(value)) + value
        case list():
            return _head(_ARRAY, len(value)) + b"".join(map(cbor, value))
        case dict():
            return _head(_MAP, len(value)) + b"".join(cbor(key) + cbor(each) for key, each in value.items())
    raise TypeError(f"no CBOR for {type(value)}")


def uncbor(data: bytes) -> dict[str, Any]:
    """A request's document. Times stay in milliseconds."""
    parser = RpcV2CBORParser(timestamp_parser=lambda milliseconds: milliseconds)
    found: dict[str, Any] = parser.parse_data_item(io.BufferedReader(io.BytesIO(data)))
    return found


def _head(kind: int, value: int) -> bytes:
    """Kind and value, or length, in the shortest form."""
    if value < 24:
        return bytes([kind << 5 | value])
    power = next(power for power in range(4) if value < 1 << (8 << power))
    return bytes([kind << 5 | 24 + power]) + value.to_bytes(1 << power, "big")


def _cbor_row(sequence: str, record: Record, number: int) -> bytes:
    return cbor({_NUMBER: sequence, _TIME: Time(record.arrival_ms), _DATA: record.data, _KEY: str(number)})


def _cbor_page(rows: list[bytes]) -> bytes:
    return _head(_MAP, 3) + cbor("Records") + _OPEN_ARRAY + b"".join(rows) + _BREAK


def _cbor_tail(behind: int, token: str) -> bytes:
    return cbor("MillisBehindLatest") + cbor(behind) + cbor("NextShardIterator") + cbor(token)


def _cbor_cut(page: bytes, first: int, end: int) -> bytes:
    rows = uncbor(page + _cbor_tail(0, ""))["Records"][first:end]
    return _cbor_page([_cbor_row(row[_NUMBER], Record(0, row[_TIME], row[_DATA], 1), int(row[_KEY])) for row in rows])


JSON = Wire(
    "application/x-amz-json-1.1",
    lambda body: dict(json.loads(body)),
    lambda document: json.dumps(document).encode(),
    _json_row,
    lambda rows: b'{"Records":[' + b",".join(rows) + b"]",
    _json_tail,
    _json_cut,
)
CBOR = Wire("application/x-amz-cbor-1.1", uncbor, cbor, _cbor_row, _cbor_page, _cbor_tail, _cbor_cut)

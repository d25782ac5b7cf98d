"""CBOR, as AWS's SDK for Java speaks it with Kinesis: the documents of the JSON protocol in the encoding of RFC 8949.

botocore writes and reads it, as for its newer protocol in CBOR; the records of a page are read by `core.native`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiobotocore.parsers import create_parser
from botocore.serialize import create_serializer

CONTENT_TYPE = "application/x-amz-cbor-1.1"
HEADERS = {"Content-Type": CONTENT_TYPE}
_PROTOCOL = "smithy-rpc-v2-cbor"
_MOST_BYTES = 64 * 1024
"""Maximum size of an error that is parsed: botocore needs a microsecond a byte."""
_parser = create_parser(_PROTOCOL)
_serializer = create_serializer(_PROTOCOL, include_validation=False)


class NotCbor(Exception):
    """A reply that is not in CBOR, or not in a form that is read here; the message says what it is instead."""


def is_cbor(headers: Mapping[str, str]) -> bool:
    """Whether a reply with these headers is in CBOR. `headers` is case-insensitive, or in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == CONTENT_TYPE


def written(arguments: Mapping[str, Any], operation: Any) -> bytes:
    """The body of a request. `operation` is its model (`botocore.model.OperationModel`)."""
    body: bytes = _serializer.serialize_to_request(arguments, operation)["body"]
    return body


def document(data: bytes) -> Any:
    """What the bytes say: mappings, lists, texts, bytes and numbers. Raises various exceptions for other bytes."""
    return _parser.parse_data_item(_parser.get_peekable_stream_from_bytes(data))


async def error(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """An error reply, as botocore's parsers give it. Raises NotCbor for one that names no error."""
    found: dict[str, Any] = {}
    with suppress(Exception):  # whatever bytes may lead to: an early end, deep nesting, another document
        if len(body) <= _MOST_BYTES and isinstance(document(body)["__type"], str):
            found = await _parser.parse({"status_code": status, "headers": headers, "body": body}, None)
    if not found:
        raise NotCbor(f"status {status} without the name of an error")
    return found

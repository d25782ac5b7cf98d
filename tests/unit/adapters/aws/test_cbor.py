"""CBOR as Kinesis speaks it: requests and errors."""

from __future__ import annotations

import botocore.session
import pytest

from benchmarks.wire import cbor, uncbor
from vortex.adapters.aws import cbor as adapter


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/x-amz-cbor-1.1", True),
        ("Application/X-Amz-CBOR-1.1; charset=utf-8", True),
        ("application/x-amz-json-1.1", False),
        ("application/cbor", False),
        ("", False),
    ],
)
def test_is_cbor_goes_by_the_content_type(kind: str, expected: bool) -> None:
    assert adapter.is_cbor({"content-type": kind}) is expected
    assert adapter.is_cbor({}) is False


def test_written_holds_the_arguments_by_their_names() -> None:
    model = botocore.session.get_session().get_service_model("kinesis").operation_model("GetRecords")
    arguments = {"ShardIterator": "é" * 300, "Limit": 10_000, "StreamARN": "arn:aws:kinesis:eu-west-1:1:stream/s"}
    assert uncbor(adapter.written(arguments, model)) == arguments


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (cbor({"__type": "ExpiredIteratorException", "message": "old"}), "ExpiredIteratorException", "old"),
        (cbor({"__type": "com.amazonaws#Odd:http://x", "Message": "m"}), "Odd", "m"),
        (cbor({}), "400", ""),
        (b"", "400", ""),
        (b"\xff", "400", ""),
        (b"\x81" * 100_000, "400", ""),
        (b"\x5b" + b"\xff" * 8, "400", ""),
        (cbor("text"), "400", ""),
        (cbor({"__type": 7}), "400", ""),
        (cbor({"__type": "Large", "message": "m" * 100_000}), "400", ""),
    ],
)
async def test_error_returns_code_and_message_or_the_status(body: bytes, code: str, message: str) -> None:
    """Whatever the body: a hostile one says no more than its status."""
    found = await adapter.error(400, {}, body)
    assert (found["Error"]["Code"], found["Error"]["Message"]) == (code, message)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 400

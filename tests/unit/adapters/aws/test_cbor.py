"""CBOR as Kinesis speaks it: requests and errors."""

from __future__ import annotations

import botocore.session
import pytest

from benchmarks.wire import Time, cbor, uncbor
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
    ],
)
async def test_error_returns_code_and_message(body: bytes, code: str, message: str) -> None:
    found = await adapter.error(400, {}, body)
    assert (found["Error"]["Code"], found["Error"]["Message"]) == (code, message)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    "body",
    [
        cbor({}),
        b"",
        b"\xff",
        b"\x81" * 100_000,
        b"\x81" * 50_000,
        b"\x5b" + b"\xff" * 8,
        cbor("text"),
        cbor([1]),
        cbor(None),
        cbor({"__type": 7}),
        cbor({"__type": ["x"]}),
        cbor({"__type": "Odd", "at": Time(1_545_116_709_123)}),
        b"\xd9\xd9\xf7" + cbor({"__type": "Odd"}),
        cbor({"__type": "Large", "message": "m" * 100_000}),
    ],
)
async def test_error_raises_not_cbor_for_a_body_that_names_no_error(body: bytes) -> None:
    """The same call in JSON tells what is wrong."""
    with pytest.raises(adapter.NotCbor, match="status 400"):
        await adapter.error(400, {}, body)

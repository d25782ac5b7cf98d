"""Decoding of GetRecords replies."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.kinesis.script import record_of
from vortex.adapters.kinesis.get_records import decode_reply


@given(st.lists(st.tuples(st.binary(max_size=50), st.floats(0, 4e9)), max_size=5))
def test_decode_reply_returns_the_encoded_records(records: list[tuple[bytes, float]]) -> None:
    body = json.dumps({"Records": [record_of("1", *record) for record in records], "MillisBehindLatest": 3})
    assert [(record.data, record.arrival) for record in decode_reply(body.encode()).records] == records


def test_decode_reply_raises_msgspec_error_when_the_reply_is_not_utf8() -> None:
    """A UnicodeDecodeError would end the worker."""
    with pytest.raises(msgspec.MsgspecError):
        decode_reply(b'{"Records":[],"MillisBehindLatest":0,"NextShardIterator":"\xff"}')


@given(st.binary(max_size=100))
def test_decode_reply_raises_msgspec_error_for_random_bytes(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_reply(body)

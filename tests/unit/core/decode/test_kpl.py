"""KPL aggregates: every sub-record an encoder puts in comes out; other data is a plain record."""

from __future__ import annotations

from hashlib import md5
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tests.kpl import EXTRAS, aggregate, field, sealed, sub_record
from vortex.core.decode.kpl import DIGEST_SIZE, MAGIC, aggregates, deaggregate, rest
from vortex.core.decode.records import Records
from vortex.core.model import Record


@given(st.lists(st.binary(max_size=400), max_size=30), st.lists(st.binary(max_size=20).map(bytes), max_size=5))
def test_deaggregate_returns_every_sub_record_in_order(payloads: list[bytes], keys: list[bytes]) -> None:
    assert deaggregate(aggregate(payloads, tuple(keys))) == payloads


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300),
            st.integers(0, 2**64 - 1),
            st.none() | st.integers(0, 2**64 - 1),
            st.sampled_from([b"", field(4, field(1, b"tag") + field(2, b"value")), *EXTRAS]),
        ),
        max_size=10,
    ),
    st.sampled_from([b"", field(2, b"123456789"), *EXTRAS]),
)
def test_deaggregate_ignores_optional_and_unknown_fields(subs: list[tuple[Any, ...]], between: bytes) -> None:
    body = between.join([b"", *(sub_record(*sub) for sub in subs), b""])
    assert deaggregate(sealed(body)) == [sub[0] for sub in subs]


@given(
    st.lists(st.binary(max_size=40), max_size=8),
    st.sampled_from([b"", field(2, b"123456789"), *EXTRAS]),
    st.integers(1, 9),
)
def test_rest_returns_an_aggregate_of_the_remaining_sub_records(
    payloads: list[bytes], between: bytes, skip: int
) -> None:
    """With every other field of the original; None if no sub-records remain."""
    whole = sealed(between.join([field(1, b"key"), *map(sub_record, payloads), b""]))
    left = rest(whole, skip)
    if skip >= len(payloads):
        assert left is None
    else:
        kept = [b"" if n < skip else sub_record(data) for n, data in enumerate(payloads)]
        assert left == sealed(between.join([field(1, b"key"), *kept, b""]))
        assert deaggregate(left) == payloads[skip:]


@pytest.mark.parametrize("data", [b"", b"{}", MAGIC, MAGIC + b"x" * 40])
def test_rest_returns_none_for_a_plain_record(data: bytes) -> None:
    """A plain record is a single user record, whatever it holds."""
    assert rest(data, 1) is None


def test_deaggregate_returns_long_payloads() -> None:
    payloads = [b"a" * 127, b"b" * 128, b"c" * 16_384, b"d" * 3_000_000, b""]
    assert deaggregate(aggregate(payloads)) == payloads


def test_deaggregate_uses_the_last_value_of_a_repeated_field() -> None:
    body = field(3, field(3, b"first") + field(1, 0) + field(3, b"last"))
    assert deaggregate(sealed(body)) == [b"last"]


@pytest.mark.parametrize("data", [b"", MAGIC, MAGIC[:3], MAGIC + b"x" * 15, MAGIC + b"x" * 16, b'{"a":1}', b"\x1f\x8b"])
def test_deaggregate_returns_none_when_data_is_not_an_aggregate(data: bytes) -> None:
    assert deaggregate(data) is None


def test_deaggregate_returns_an_empty_list_for_an_empty_aggregate() -> None:
    assert deaggregate(sealed(b"")) == []


@given(st.data())
def test_deaggregate_returns_none_when_a_byte_is_changed(data: st.DataObject) -> None:
    whole = aggregate([b"one", b"two"])
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert deaggregate(bytes(changed)) is None


@given(st.integers(1, 200))
def test_deaggregate_returns_none_when_the_aggregate_is_truncated(cut: int) -> None:
    whole = aggregate([b"x" * 100, b"y" * 100])
    assert deaggregate(whole[:-cut]) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x1a", id="no length"),
        pytest.param(b"\x1a\x80", id="length cut"),
        pytest.param(b"\x1a\x05\x08\x00", id="record beyond the end"),
        pytest.param(field(3, b"\x08\x00\x1a\x05ab"), id="data beyond the record"),
        pytest.param(field(3, b"\x08\x00"), id="no data"),
        pytest.param(field(3, field(3, b"x")), id="no partition key index"),
        pytest.param(field(3, b""), id="empty record"),
        pytest.param(b"\xff" * 10 + b"\x01", id="number of eleven bytes"),
        pytest.param(b"\x00\x00", id="field number 0"),
        pytest.param(b"\x2b\x2c", id="group"),
        pytest.param(b"\x31\x00", id="fixed64 cut"),
        pytest.param(b"\x3d\x00", id="fixed32 cut"),
        pytest.param(b"\x2a\x7f", id="unknown bytes beyond the end"),
        pytest.param(sub_record(b"good") + b"\x1a\x02\x08", id="a good one, then rubbish"),
    ],
)
def test_deaggregate_returns_none_for_malformed_protobuf_with_a_valid_digest(body: bytes) -> None:
    assert deaggregate(sealed(body)) is None


@given(st.binary(max_size=200))
def test_deaggregate_never_raises_on_random_bytes_with_a_valid_digest(body: bytes) -> None:
    records = deaggregate(sealed(body))
    assert records is None or sum(map(len, records)) <= len(body)


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=20),
            st.none() | st.integers(0, 2**128 - 1).map(str),
            st.binary(min_size=1, max_size=200),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_deaggregate_reads_what_the_aws_aggregator_writes(records: list[tuple[str, str | None, bytes]]) -> None:
    aggregator = RecordAggregator()
    for key, explicit, data in records:
        aggregator.add_user_record(key, data, explicit)
    _, _, whole = aggregator.clear_and_get().get_contents()
    assert deaggregate(whole) == [data for _, _, data in records]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_deaggregate_agrees_with_the_google_parser_on_damaged_protobuf(
    payloads: list[bytes], data: st.DataObject
) -> None:
    """With a digest that fits the damaged bytes. Where both accept them, both return the same records."""
    body = bytearray(b"".join(sub_record(payload, 1, 2) for payload in payloads))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    ours = deaggregate(sealed(bytes(body)))
    try:
        theirs = [bytes(record.data) for record in AggregatedRecord.FromString(bytes(body)).records]
    except DecodeError:
        return
    assert ours is None or ours == theirs


def test_digest_size_is_that_of_md5() -> None:
    assert md5().digest_size == DIGEST_SIZE


def test_aggregates_flags_exactly_the_records_with_a_valid_digest() -> None:
    """Of a whole page at once."""
    whole = aggregate([b"one", b"two"])
    wrong = whole[:-1] + bytes([whole[-1] ^ 1])
    datas = [whole, b"{}", b"", wrong, whole[:20], sealed(b""), b"\xf3" * 40, whole]
    records = Records.of([Record("1", 1.0, data) for data in datas])
    assert aggregates(records.data, records.bounds).tolist() == [True, False, False, False, False, True, False, True]
    assert [deaggregate(data) is not None for data in datas] == [True, False, False, False, False, True, False, True]

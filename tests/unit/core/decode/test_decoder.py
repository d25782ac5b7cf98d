"""Decoding pages: bad input is rejected with its reason and bytes, good input keeps its bytes, nothing raises."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.workload import kpl_aggregate
from vortex.core.decode.containers import parts_of
from vortex.core.decode.decoder import Decoded, Decoder
from vortex.core.decode.diagnosis import MOST_KEYS
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import Limits
from vortex.core.decode.reasons import Reason
from vortex.core.model import Record

DECODER = Decoder(Fields(("customer",), ("event", "type"), ("id",), ("at",)))
GITHUB = Decoder(Fields(("org.login", "repo.name"), ("type",), ("id",), ("created_at",)))


def decode(*data: bytes, decoder: Decoder = DECODER) -> Decoded:
    """Decode these records as one page."""
    return decoder.page([Record(str(number), 1.0, each) for number, each in enumerate(data)])


def event(**more: object) -> bytes:
    """A valid event with `more` fields."""
    return json.dumps({"customer": "acme", "event": "view", "id": "1", **more}).encode()


def test_decoder_keeps_the_bytes_of_a_valid_event() -> None:
    """The line is the record's data itself."""
    data = b'{ "customer" : "acme","event":"view", "id": 7,"at":"2020-01-01T00:00:00Z", "x":[1.50, "\\u00e9"] }'
    out = decode(data)
    assert (out.lines, out.customers, out.types, out.ids, out.times) == (
        [data],
        ["acme"],
        ["view"],
        ["7"],
        ["2020-01-01T00:00:00Z"],
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"  \n ", Reason.EMPTY),
        (b"hello", Reason.NOT_JSON),
        (b'{"customer":', Reason.NOT_JSON),
        (b'{"customer":NaN}', Reason.NOT_JSON),
        (event()[:-1] + b',"x":NaN}', Reason.NOT_JSON),
        (event() + b"}", Reason.NOT_JSON),
        (b'{"customer":"a","event":"v","id":"1","x":"\xff\xfe"}', Reason.NOT_UTF8),
        (b"\xff\xfe\x00\x01", Reason.NOT_UTF8),
        (b'{"customer":"\xff","event":"v","id":"1"}', Reason.NOT_UTF8),
        (b'{"customer\xff":"a","event":"v","id":"1"}', Reason.NOT_UTF8),
        (gzip.compress(event(), mtime=0)[:-4], Reason.BAD_COMPRESSION),
        (b"\x1f\x8b\x08garbage", Reason.BAD_COMPRESSION),
        (b"[]", Reason.EMPTY),
        (b'"text"', Reason.NOT_AN_OBJECT),
        (b"17", Reason.NOT_AN_OBJECT),
        (b'{"event":"v","id":"1"}', Reason.MISSING_CUSTOMER),
        (b'{"customer":"","event":"v","id":"1"}', Reason.MISSING_CUSTOMER),
        (b'{"customer":null,"event":"v","id":"1"}', Reason.MISSING_CUSTOMER),
        (b'{"customer":"a","id":"1"}', Reason.MISSING_TYPE),
        (event(customer={"x": 1}), Reason.BAD_CUSTOMER),
        (event(customer=True), Reason.BAD_CUSTOMER),
        (event(customer=1.5), Reason.BAD_CUSTOMER),
        (event(event=[1]), Reason.BAD_TYPE),
        (event(id={}), Reason.BAD_ID),
        (b'{"customer":"a","customer":"b","event":"v","id":"1"}', Reason.DUPLICATE_KEY),
        (event(customer="x" * 1025), Reason.TOO_LARGE),
        (event()[:-1] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", Reason.TOO_DEEP),
    ],
)
def test_decoder_rejects_bad_input_with_its_reason_and_bytes(data: bytes, reason: Reason) -> None:
    """The events before and after it in the page are unaffected."""
    out = decode(event(id="before"), data, event(id="after"))
    assert out.ids == ["before", "after"]
    assert [(r.record, r.reason) for r in out.rejected] == [(1, reason)]
    assert out.rejected[0].data.strip() == data.strip()


def test_decoder_rejects_each_scalar_of_an_array() -> None:
    """Each element counts for itself."""
    out = decode(b'[1, "x", ' + event() + b"]")
    assert [r.reason for r in out.rejected] == [Reason.NOT_AN_OBJECT] * 2
    assert out.lines == [event()]


def test_decoder_makes_each_event_of_a_record_a_line() -> None:
    """NDJSON, arrays, gzip, zlib. One broken line does not affect the others."""
    two = event(id="1") + b"\r\n\n" + event(id="2") + b"\n"
    for data in (two, gzip.compress(two), zlib.compress(two), b"[" + event(id="1") + b" , " + event(id="2") + b"]"):
        assert decode(data).lines == [event(id="1"), event(id="2")]
    out = decode(event(id="1") + b"\n{broken\n" + event(id="2"))
    assert out.ids == ["1", "2"]
    assert [(r.sub, r.data) for r in out.rejected] == [(1, b"{broken")]


def test_decoder_joins_the_members_of_a_gzip_record() -> None:
    assert decode(gzip.compress(event(id="1") + b"\n") + gzip.compress(event(id="2"))).ids == ["1", "2"]


def test_decoder_makes_pretty_printed_json_one_line() -> None:
    """Line breaks between tokens become spaces; nothing else changes."""
    data = json.dumps(json.loads(event(x={"y": [1, 2]})), indent=2).encode()
    out = decode(data, data.replace(b"\n", b"\r\n") + b"\n")
    assert all(b"\n" not in line and b"\r" not in line for line in out.lines)
    assert [json.loads(line) for line in out.lines] == [json.loads(data)] * 2
    assert decode(data[:-2]).rejected[0].data == data[:-2].strip()


def test_decoder_uses_the_first_path_that_has_a_value() -> None:
    """Empty and null count as absent, and so does a path that leads through a scalar."""
    assert decode(b'{"customer":"a","event":"","type":"t","id":"1"}').types == ["t"]
    both = b'{"org":{"login":"o"},"repo":{"name":"r"},"type":"T","id":"1"}'
    only = b'{"org":null,"repo":{"name":"r/x"},"type":"T","id":"2"}'
    scalar = b'{"org":"text","repo":{"name":"r"},"type":"T","id":3}'
    assert decode(both, only, scalar, decoder=GITHUB).customers == ["o", "r/x", "r"]


def test_decoder_rejects_a_duplicate_key_only_on_a_configured_path() -> None:
    """Only keys that decide the routing must be unique within their object."""
    assert not decode(b'{"customer":"a","event":"v","id":"1","x":{"id":1},"y":{"id":2},"z":1,"z":2}').rejected
    twice = b'{"org":{"login":"a"},"repo":{"name":"r"},"type":"T","id":"1","org":{"login":"b"}}'
    assert decode(twice, decoder=GITHUB).rejected[0].reason is Reason.DUPLICATE_KEY


def test_decoder_accepts_or_rejects_a_missing_id_by_setting() -> None:
    data = b'{"customer":"a","event":"v"}'
    assert decode(data).ids == [None]
    strict = Decoder(Fields(("customer",), ("event",), ("id",), ("at",), "reject"))
    assert decode(data, decoder=strict).rejected[0].reason is Reason.MISSING_ID


_DUMP = ":".join(["0f"] * (MOST_KEYS + 3))


@pytest.mark.parametrize("more", [{"ctx": None}, {"lone": "\ud83d"}])
def test_decoder_accepts_an_event_of_few_keys_when_a_text_has_very_many_colons(more: dict[str, object]) -> None:
    """Such an event needs the slow decoder, which makes an object of each key."""
    decoder = Decoder(Fields(("ctx.customer", "customer"), ("event",), ("id",), ("at",)))
    data = event(**more, dump=_DUMP, code='a\\":"b').replace(b", ", b",\n")
    out = decode(data, decoder=decoder)
    assert out.customers == ["acme"] and not out.rejected


@pytest.mark.parametrize(
    ("more", "reason"), [('"id":1.5', Reason.BAD_ID), ('"id":1,"id":1', Reason.DUPLICATE_KEY), ("", Reason.MISSING_ID)]
)
def test_decoder_gives_the_true_reason_when_a_text_has_very_many_colons(more: str, reason: Reason) -> None:
    decoder = Decoder(Fields(("customer",), ("event",), ("id",), ("at",), missing_id="reject"))
    members = f'"customer":"a","event":"v","dump":"{_DUMP}"' + ("," + more if more else "")
    assert [each.reason for each in decode(f"{{{members}}}".encode(), decoder=decoder).rejected] == [reason]


def test_decoder_rejects_an_event_of_too_many_keys_when_it_needs_the_slow_decoder() -> None:
    """Keys count wherever they are."""
    for keys, reason in ((MOST_KEYS - 5, Reason.BAD_ID), (MOST_KEYS + 1, Reason.TOO_MANY_KEYS)):
        inner = ",".join(['{"a":1}'] * keys)
        data = f'{{"customer":"a","event":"v","id":1.5,"x":[{inner}]}}'.encode()
        assert [each.reason for each in decode(data).rejected] == [reason]


def test_decoder_returns_no_time_when_the_time_field_is_an_object_or_a_boolean() -> None:
    out = decode(event(at={"x": 1}), event(at=True), event(at=12.5), event(at="x"))
    assert out.times == [None, None, 12.5, "x"]


def test_decoder_rejects_a_record_that_decompresses_beyond_the_limit() -> None:
    """Before its content is held in memory."""
    parts = parts_of([gzip.compress(b"x" * 5000)], Limits(record=1000))
    assert DECODER.parts(parts).rejected[0].reason is Reason.TOO_LARGE


def test_decoder_accepts_an_event_of_ten_mebibytes() -> None:
    """Kinesis takes records of up to 10 MiB."""
    data = event(x="y" * (10 * 2**20 - 100))
    assert decode(data).lines == [data]


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["customer", "event", "type", "id", "at", "x"]), inner, max_size=6)
        ),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode())
)
def test_decoder_never_raises_and_loses_no_record(data: bytes) -> None:
    """Every record gives at least one line or rejection; lines are JSON objects without line breaks."""
    out = decode(data)
    assert len(out.lines) + len(out.rejected) >= 1
    for line in out.lines:
        assert b"\n" not in line
        assert isinstance(msgspec.json.decode(line), dict)
    assert len({len(c) for c in (out.lines, out.customers, out.types, out.ids, out.times, out.records)}) == 1
    base64.b64encode(b"".join(r.data for r in out.rejected))


_PIECES = st.sampled_from(
    [
        event(),
        event(id="2", at=5, x="é"),
        event(id=7, event=None, type="view"),
        event(id=None),
        event(customer=""),
        event(customer={}),
        b'{"customer":"acme","event":"view","id":"1","id":"2"}',
        b'{ "customer": "a",\n "event": "v", "id": "9" }',
        b'{"customer":"a","event":"v","id":"\xff"}',
        b'{"customer":"acme"',
        b"17",
        b"  ",
        event(x="y" * 9000),
        gzip.compress(event(), mtime=0)[:-3],
    ]
)


@given(
    st.lists(
        st.one_of(
            _PIECES,
            st.lists(_PIECES, min_size=1, max_size=4).map(b"\n".join),
            st.lists(_PIECES, max_size=4).map(lambda several: b"[" + b",".join(several) + b"]"),
            st.lists(_PIECES, min_size=1, max_size=4).map(kpl_aggregate),
            st.lists(_PIECES, min_size=1, max_size=4).map(lambda several: gzip.compress(b"\n".join(several), mtime=0)),
        ),
        max_size=12,
    )
)
def test_decoder_gives_the_same_result_for_a_page_and_for_its_single_records(datas: list[bytes]) -> None:
    """Decoding by column is an optimization: the other records of the page do not change the result."""
    together, alone = decode(*datas), Decoded()
    for number, data in enumerate(datas):
        one = decode(data)
        for name in ("lines", "customers", "types", "ids", "times"):
            getattr(alone, name).extend(getattr(one, name))
        alone.records += [number] * len(one.lines)
        alone.rejected += [msgspec.structs.replace(rejected, record=number) for rejected in one.rejected]
    assert together == alone
    with patch.object(Decoder, "_columns", lambda *_: False):
        assert decode(*datas) == together, "the slow path finds the same"

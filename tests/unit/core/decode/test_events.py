"""Events that are ambiguous or unusual JSON: the answer is the same in C and in Python, and independent of
neighbours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import without_native
from tests.random_pages import read
from vortex.core.decode.fields import Fields
from vortex.core.decode.reasons import Reason
from vortex.core.native.contract import NO_PERIOD

FIELDS = Fields(("org.login", "customer"), ("event", "type"), ("id",), ("meta.at", "at"))
PERIOD = 1000


def read_both_ways(*datas: bytes, fields: Fields = FIELDS) -> tuple[list[Any], list[Any]]:
    """What the page gives in C and in Python, which must agree, also with each of its records read alone."""
    found = read(list(datas), fields, PERIOD)
    with without_native():
        assert read(list(datas), fields, PERIOD) == found
        alone = [read([data], fields, PERIOD) for data in datas]
    assert alone == [read([data], fields, PERIOD) for data in datas]
    assert [row[:-1] for row in found[0]] == [row[:-1] for rows, _ in alone for row in rows]
    assert [each[1:] for each in found[1]] == [each[1:] for _, several in alone for each in several]
    return found


def event(text: str = "", **more: object) -> bytes:
    """A valid event, with more members after it."""
    members = json.dumps({"customer": "acme", "event": "view", "id": "1", **more})
    return (members[:-1] + ("," + text if text else "") + "}").encode()


TWICE = [
    '{"customer":"a","event":"v","id":"1","id":"2"}',
    '{"customer":"a","customer":"a","event":"v","id":"1"}',
    '{"customer":"a","custom\\u0065r":"b","event":"v","id":"1"}',
    '{"custom\\u0065r":"a","customer":"b","event":"v","id":"1"}',
    '{"cust\\u006fmer":"a","custom\\u0065r":"b","event":"v","id":"1"}',
    '{"customer":"a","event":"v","id":null,"id":"1"}',
    '{"customer":"a","event":"v","id":"1","i\\u0064":null}',
    '{"customer":"a","event":"v","event":"w","id":"1"}',
    '{"customer":"a","event":"v","type":1,"type":2,"id":"1"}',
    '{"customer":"a","event":"v","id":"1","at":1,"at":2}',
    '{"customer":"a","event":"v","id":"1","meta":{"at":1,"at":2}}',
    '{"customer":"a","event":"v","id":"1","meta":{},"meta":{"at":2}}',
    '{"org":{"login":"a"},"org":{"login":"b"},"event":"v","id":"1"}',
    '{"org":null,"org":{"login":"b"},"event":"v","id":"1"}',
    '{"org":{"login":"a","log\\u0069n":"b"},"event":"v","id":"1"}',
    '{"org":{"login":"a"},"o\\u0072g":3,"event":"v","id":"1"}',
    '{"customer":"a","event":"v","id":"1","id":{"x":[]}}',
    '{"customer":"a","event":"v","id":1e999,"id":"1"}',
]
ONCE = [
    event(),
    event(x={"id": 1, "customer": 2, "y": {"id": 3}}),
    event(id=None),
    event(id=None, x='"id":"id"'),
    b'{"event":"v","id":"1"}',
    b'{"org":{"login":"a","id":"x"},"event":"v","id":"1"}',
    b'{"x":1,"x":2,"customer":"a","event":"v","id":"1","y":{"a":1,"a":2}}',
    b'{"custom\\u0065r":"a","event":"v","id":"1","note":"customer\\u0065"}',
    b"{}",
]


@pytest.mark.parametrize("data", TWICE)
def test_a_duplicate_key_is_rejected_whatever_the_neighbouring_events(data: str) -> None:
    """Among neighbours that have the key, that lack it, or that have it elsewhere; for every key of a path."""
    for neighbours in ([], ONCE[:1], ONCE[-1:] * 3, ONCE):
        _, rejected = read_both_ways(*neighbours, data.encode(), *neighbours)
        reasons = [each[2] for each in rejected if each[0] == len(neighbours)]
        assert reasons == [Reason.DUPLICATE_KEY]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*map(str.encode, TWICE), *ONCE]), min_size=1, max_size=8))
def test_an_event_gives_the_same_result_whatever_its_neighbours(datas: list[bytes]) -> None:
    """As separate records, as lines of one record, and concatenated."""
    rows, rejected = read_both_ways(*datas)
    for between in (b"\n", b"", b" "):
        several, others = read_both_ways(between.join(datas))
        assert [row[:-1] for row in several] == [row[:-1] for row in rows]
        assert [each[2:] for each in others] == [each[2:] for each in rejected]


SURROGATES = [r"\ud83d", r"x\udc00", r"\uDBFF\uDBFF\uDFFF", r"\ud83d\\ude00", r"\ud83d\u0041"]


@pytest.mark.parametrize("half", SURROGATES)
def test_an_event_with_a_lone_surrogate_keeps_its_bytes_unless_a_configured_field_has_it(half: str) -> None:
    """Such a field cannot be made text, so the event is rejected."""
    data = event(f'"x":"{half}","{half}":[]')
    rows, _ = read_both_ways(event(), data, event())
    assert [row[0] for row in rows] == [event(), data, event()] and rows[1][1:-1] == rows[0][1:-1]
    for field, reason in (("customer", "bad_customer"), ("event", "bad_type"), ("id", "bad_id")):
        values = {"customer": "a", "event": "b", "id": "c", field: half}
        members = ",".join(f'"{name}":"{value}"' for name, value in values.items())
        rows, rejected = read_both_ways(event(), f"{{{members}}}".encode())
        assert len(rows) == 1 and [each[2].value for each in rejected] == [reason]
    rows, _ = read_both_ways(event(f'"at":"{half}"'))
    assert rows[0][3] == NO_PERIOD, "no time"


def test_lone_surrogates_are_rejected_by_setting() -> None:
    """Surrogate pairs and escaped backslashes are not lone surrogates."""
    fields = Fields(("customer",), ("event",), ("id",), ("at",), lone_surrogates="reject")
    whole = event(r'"x":"\ud83d\ude00 \\ud83d"')
    rows, rejected = read_both_ways(whole, event(r'"x":"\ud83d"'), fields=fields)
    assert [row[0] for row in rows] == [whole]
    assert [each[2] for each in rejected] == [Reason.LONE_SURROGATE]


def test_an_escaped_surrogate_pair_equals_the_character_itself() -> None:
    """A duplicate is recognized however the producer escapes it."""
    rows, _ = read_both_ways(
        r'{"customer":"\ud83d\ude00","event":"v","id":"é"}'.encode(),
        '{"customer":"😀","event":"v","id":"\\u00e9"}'.encode(),
    )
    assert rows[0][1:-1] == rows[1][1:-1]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "1" * 5000, "0.1e-9999", "1.5e+308", "-0"])
def test_a_number_in_an_unread_field_is_kept_however_large(number: str) -> None:
    """Also beside a member that needs the slow path."""
    for data in (event(f'"x":{number}'), event(rf'"x":[{number},"\ud83d"]'), event(f'"x":{{"id":{number}}}', id=7)):
        rows, rejected = read_both_ways(event(), data)
        assert [row[0] for row in rows] == [event(), data] and not rejected


@pytest.mark.parametrize(
    "digits", ["1", "9007199254740993", "18446744073709551616", "123456789012345678901234567890", "7" * 5000]
)
def test_an_integer_id_is_read_exactly(digits: str) -> None:
    """It equals its text, and differs from the next number."""
    one, other = digits, digits[:-1] + ("2" if digits[-1] != "2" else "3")
    members = '{{"customer":"a","event":"v","id":{}}}'
    rows, _ = read_both_ways(*(members.format(value).encode() for value in (one, f'"{one}"', other, f"-{one}")))
    keys = [row[2] for row in rows]
    assert keys[0] == keys[1] == xxhash.xxh3_128_digest(f"1:a{one}".encode(), 7)
    assert len({keys[0], keys[2], keys[3]}) == 3


@pytest.mark.parametrize("number", ["1.0", "1e3", "1e999", "0.1", "-1E+2", "123456789012345678901234567890.0"])
def test_an_id_is_rejected_when_it_is_a_number_with_fraction_or_exponent(number: str) -> None:
    """One such number can be written in many ways."""
    _, rejected = read_both_ways(event(), f'{{"customer":"a","event":"v","id":{number}}}'.encode(), event())
    assert [(each[0], each[2]) for each in rejected] == [(1, Reason.BAD_ID)]


def test_an_id_of_minus_zero_equals_zero() -> None:
    rows, _ = read_both_ways(event(id=0), b'{"customer": "acme", "event": "view", "id": -0}', event(id="0"))
    assert len({row[2] for row in rows}) == 1


def test_an_event_over_the_size_limit_is_rejected_and_its_neighbours_are_accepted() -> None:
    """As a record, as a line among others, and as an element of an array."""
    fields = Fields(("customer",), ("event",), ("id",), ("at",), max_bytes=100)
    fits, over = event(x="y" * 43), event(x="y" * 44)
    assert (len(fits), len(over)) == (100, 101)
    for datas in ([fits, over, fits], [b"\n".join([fits, over, fits])], [b"[" + b",".join([fits, over, fits]) + b"]"]):
        rows, rejected = read_both_ways(*datas, fields=fields)
        assert [row[0] for row in rows] == [fits, fits]
        assert [(each[2], each[4]) for each in rejected] == [(Reason.EVENT_TOO_LARGE, over)]


@pytest.mark.parametrize(
    ("depth", "fits"), [(64, True), (65, True), (511, True), (512, False), (5000, False), (300_000, False)]
)
def test_an_event_is_rejected_when_it_nests_deeper_than_512_levels(depth: int, fits: bool) -> None:
    """Including the level of the event itself."""
    for one, other in ("[]", ('{"a":', "}")):
        inner = one * depth + ("" if one == "[" else "1") + other * depth
        rows, rejected = read_both_ways(event(), event(f'"x":{inner}'), event(x="[" * 600 + "{" * 600))
        assert [row[-1] for row in rows] == ([0, 1, 2] if fits else [0, 2])
        assert [each[2] for each in rejected] == ([] if fits else [Reason.TOO_DEEP])


def test_the_time_is_the_first_path_with_a_readable_value() -> None:
    """An event without a readable time has no period."""
    good = '"at":"2018-12-18T07:05:09Z"'
    datas = [
        event(good),
        event(f'"meta":{{"at":"yesterday"}},{good}'),
        event(f'"meta":{{"at":true}},{good}'),
        event(f'"meta":{{"at":1e999}},{good}'),
        event(f'"meta":{{"at":""}},{good}'),
        event(f'"meta":{{"at":"\\ud83d"}},{good}'),
        event(f'"meta":[],{good}'),
        event('"meta":{"at":"yesterday"},"at":"tomorrow"'),
        event(),
    ]
    rows, _ = read_both_ways(*datas)
    assert [row[3] for row in rows] == [1_545_116_709_000] * 7 + [NO_PERIOD] * 2


@pytest.mark.parametrize("more", ["", ',"x":[null,\n1]', ',"x":1.5e999'])
def test_a_time_with_a_lone_surrogate_in_the_name_of_its_zone_is_read_the_same_on_any_path(more: str) -> None:
    """The offset decides, so it is a time."""
    text = f'{{"c":"a","t":"b","id":1,"at":"2018-12-18T07:05:09Z[\\ud800]"{more}}}'
    for times in (("at",), ("at", "other")):
        rows, _ = read_both_ways(text.encode(), fields=Fields(("c",), ("t",), ("id",), times))
        assert [row[3] for row in rows] == [1_545_116_709_000]


NEITHER = ['{"$date":5}', "[1]", "[]", "{}", "true", "false", "1545116709.5", "1e999", "0.0"]


@pytest.mark.parametrize("value", NEITHER)
@pytest.mark.parametrize("paths", [("id", "ts"), ("ts", "id")])
def test_an_id_is_text_or_an_integer_when_the_time_shares_its_path(value: str, paths: tuple[str, ...]) -> None:
    """Another value is the time or none, and never an id."""
    fields = Fields(("c",), ("t",), paths, ("ts",))
    members = '"c":"a","t":"b","ts":'
    good = f'{{{members}"2018-12-18T07:05:09Z"}}'.encode()
    bare, beside = f"{{{members}{value}}}".encode(), f'{{{members}{value},"x":"\\ud800"}}'.encode()
    with_id = f'{{{members}{value},"id":1}}'.encode()
    rows, rejected = read_both_ways(good, bare, good, beside, with_id, good, fields=fields)
    accepted = [0, 2, 4, 5] if paths[0] == "id" else [0, 2, 5]
    assert [row[-1] for row in rows] == accepted
    assert {each[2] for each in rejected} == {Reason.BAD_ID} and len(rejected) == 6 - len(accepted)
    its = 1_545_116_709_000 if value == "1545116709.5" else 0 if value == "0.0" else NO_PERIOD
    assert [row[3] for row in rows if row[-1] == 4] == ([its] if len(accepted) == 4 else [])


@pytest.mark.parametrize("field", ["c", "t"])
@pytest.mark.parametrize("value", NEITHER)
def test_a_customer_or_type_is_text_or_an_integer_when_the_time_shares_its_path(field: str, value: str) -> None:
    customers, types = ((field, "other"), ("t",)) if field == "c" else (("c",), (field, "other"))
    fields = Fields(customers, types, ("id",), (field,))
    members = {"c": '"a"', "t": '"b"', field: value}
    text = ",".join(f'"{name}":{each}' for name, each in members.items())
    rows, rejected = read_both_ways(f'{{{text},"other":"c"}}'.encode(), fields=fields)
    assert not rows and [each[2].value for each in rejected] == ["bad_customer" if field == "c" else "bad_type"]


def test_a_time_is_missing_when_another_path_continues_its_own() -> None:
    """There is an object, which is no time; nor is it an id."""
    data, text = b'{"c":"a","t":"b","ts":{"id":"x"}}', b'{"c":"a","t":"b","id":"x","ts":1545116709}'
    for ids, accepted in ((("ts.id", "id"), [0, 1]), (("ts", "id"), [1])):
        times = ("ts",) if ids[0] == "ts.id" else ("ts.at", "ts")
        rows, rejected = read_both_ways(data, text, fields=Fields(("c",), ("t",), ids, times))
        assert [row[-1] for row in rows] == accepted
        assert [each[2] for each in rejected] == [Reason.BAD_ID] * (2 - len(accepted))
        assert [row[3] for row in rows] == [NO_PERIOD, 1_545_116_709_000][-len(accepted) :]


@pytest.mark.parametrize(
    "data",
    [
        event() * 2,
        event() + b" " + event() + b"\r\n",
        b"\xef\xbb\xbf" + event() + b"\n\xef\xbb\xbf" + event(),
        b"\x1e" + event() + b"\n\x1e" + event() + b"\n",
        b"\n\n " + event() + b"\n\n" + event() + b" ",
        b"[" + event() + b"][\n" + event() + b"]",
        event().replace(b", ", b",\n") + event(),
    ],
)
def test_events_get_the_same_lines_and_keys_however_they_are_separated(data: bytes) -> None:
    """Also events without an id, whose key is that of their line."""
    rows, rejected = read_both_ways(data)
    assert [row[0].replace(b" ", b"") for row in rows] == [event().replace(b" ", b"")] * 2 and not rejected
    bare = data.replace(b', "id": "1"', b"").replace(b',\n"id": "1"', b"")
    rows, _ = read_both_ways(bare, bare)
    assert rows[0][2] == rows[2][2]


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_customer_and_type_may_have_1024_characters_together(letter: str) -> None:
    """Characters count, not bytes."""
    fits, over = event(customer=letter * 1020), event(customer=letter * 1021)
    for escaped in (False, True):
        datas = [json.dumps(json.loads(data), ensure_ascii=escaped).encode() for data in (fits, over, fits)]
        rows, rejected = read_both_ways(*datas)
        assert [row[0] for row in rows] == [datas[0], datas[2]]
        assert [(each[0], each[2]) for each in rejected] == [(1, Reason.TOO_LARGE)]

"""Splitting a text into its JSON values, whatever separates them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.decode import texts as module
from vortex.core.decode.limits import DEFAULT, Budget, Limits, Pot
from vortex.core.decode.reasons import OverBudget, Reason
from vortex.core.decode.steps import at_once

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\}{][,:\n\ud83d\ude00é '), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a}{", max_size=3), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(max_size=3), _VALUES, max_size=3)
_BETWEEN = st.sampled_from(["", "", " ", "\n", "\r\n", "\n\n", "\t", "\ufeff", "\n\ufeff", "\x1e", "\n\x1e"])


def values_of(text: bytes, limits: Limits = DEFAULT) -> list[bytes]:
    """The values of a text, split in one step."""
    return at_once(module.values_of(text, Budget(len(text), limits, Pot(limits))))


@given(st.lists(st.tuples(_OBJECTS, _BETWEEN, st.sampled_from([None, 1])), min_size=1, max_size=6), _BETWEEN)
def test_values_of_splits_objects_whatever_separates_them(
    several: list[tuple[dict[str, object], str, int | None]], end: str
) -> None:
    """Pretty-printed or not. Lone surrogates, and brackets and quotes within strings, do not matter."""
    texts = [json.dumps(value, indent=indent) for value, _, indent in several]
    whole = "".join(between + text for text, (_, between, _) in zip(texts, several, strict=True)) + end.strip(
        "\ufeff\x1e"
    )
    assert values_of(whole.encode()) == [text.encode() for text in texts]


@given(st.lists(_OBJECTS, min_size=1, max_size=4), st.sampled_from([",", " ,\n", ",\r\n "]), _BETWEEN)
def test_values_of_returns_the_elements_of_arrays(several: list[dict[str, object]], comma: str, between: str) -> None:
    """Also of several arrays in a row."""
    texts = [json.dumps(value) for value in several]
    array = "[" + comma.join(texts) + "]"
    assert values_of((array + between + array).encode()) == [text.encode() for text in texts] * 2


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"", [b""]),
        (b"\xef\xbb\xbf", [b""]),
        (b"17\n18", [b"17\n18"]),
        (b"hello\nworld", [b"hello\nworld"]),
        (b"{broken\n{}", [b"{broken", b"{}"]),
        (b'{"a":1}\nhello\n{"a":2}{"a":3}', [b'{"a":1}', b"hello", b'{"a":2}', b'{"a":3}']),
        (b'{"a":"1}\n{"a":"2"}', [b'{"a":"1}', b'{"a":"2"}']),
        (b'{"a":[1\n{"a":2}{"a":3}', [b'{"a":[1', b'{"a":2}', b'{"a":3}']),
        (b'{"a":1}{"a":2}junk', [b'{"a":1}', b'{"a":2}junk']),
        (b'{"a":{"b":1}{"c":2}', [b'{"a":{"b":1}', b'{"c":2}']),
        (b'[{"a":1}][{"b":', [b'{"a":1}', b'[{"b":']),
        (b"[]", [b"[]"]),
        (b"[[{}]]", [b"[{}]"]),
        (b'[1,{"a":2}]', [b"1", b'{"a":2}']),
        (b'{"a":\n[1,\n', [b'{"a":\n[1,\n']),
        (b'\n{"a":NaN}\n{"a":2}\n', [b'{"a":NaN}', b'{"a":2}']),
        (b'{"a":\r{"a":2}\r{"a":3}', [b'{"a":', b'{"a":2}', b'{"a":3}']),
        (b'{"a":"1}\r{"a":2}', [b'{"a":"1}', b'{"a":2}']),
        (b'{"a":"\\\r{"a":2}\r\n{"a":[1}\r\n{"a":4}', [b'{"a":"\\', b'{"a":2}', b'{"a":[1}', b'{"a":4}']),
    ],
)
def test_values_of_isolates_a_broken_value_from_its_neighbours(text: bytes, values: list[bytes]) -> None:
    assert values_of(text) == values


@pytest.mark.parametrize(
    "text",
    [
        b"\n\x05hello\x10\r",
        b"\n$0b7f3bd2-2ffb-44a4-8b11-c16b1c4f7a55",
        b"\xc3\x01abc\n",
        "{}\n".encode("utf-16-be"),
        b"\x1e\x08} \n\t{\n;} {\x0c\r\n",
        b"\n{x}\n{y}\n",
        b"\x1ea Avro string of fifteen",
    ],
)
def test_values_of_keeps_all_bytes_when_no_object_is_found(text: bytes) -> None:
    """White space is data in binary formats: protobuf nearly always begins with a line break."""
    assert values_of(text) == [text]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b'{"a":1,\n' * 600 + b"{}", [b'{"a":1,'] * 600 + [b"{}"]),
        (b"log [\n" * 600 + b"{}", [b"log ["] * 600 + [b"{}"]),
        (b"{}\nx" + b"[" * 600, [b"{}", b"x" + b"[" * 600]),
        (b"{}\nx" + b"[" * 600 + b"]" * 600, [b"{}", b"x" + b"[" * 600 + b"]" * 600]),
        (b"[" * 600 + b"]" * 600 + b"x\n{}", [b"[" * 600 + b"]" * 600 + b"x", b"{}"]),
    ],
)
def test_values_of_finds_an_object_when_broken_lines_open_many_brackets(text: bytes, lines: list[bytes]) -> None:
    """No value nests there: a line that opens a bracket is broken by itself."""
    assert values_of(text) == lines


def test_values_of_keeps_a_value_whole_when_it_only_nests_too_deep() -> None:
    """What looks like an event on a line of it is not one."""
    text = b'{"a":[\n' * 300 + b"{}\n" + b"]\n}" * 300
    assert values_of(text) == [text]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\x1e"])
def test_values_of_skips_a_mark_of_text_when_broken_json_follows(mark: bytes) -> None:
    """Else the rejection would blame the mark, which is allowed."""
    assert values_of(b"\n" + mark + b'{"a":NaN}\n') == [b'{"a":NaN}']


@pytest.mark.parametrize(
    "text",
    [
        b'"',
        b'\\"',
        b'"' + b'\\"' * 9,
        b"{\n",
        b'{"a":1\n',
        b"\x1e",
        b"\xef\xbb\xbf",
        b'{"a":"\n}',
        b"}" + b" " * 99,
        b"[",
    ],
)
def test_values_of_takes_linear_time_on_any_text(text: bytes) -> None:
    """Each byte is read a constant number of times. With quadratic time this test would not finish."""
    values_of(text * (300_000 // len(text)), Limits(events=1_000_000))


@pytest.mark.parametrize(
    "text",
    [
        b"{}" * 101,
        b"{}\n" * 101,
        b"[" + b"{}," * 100 + b"{}]",
        b"[" + b'"a,b",' * 100 + b"1]",
        b"[" * 3 + b"{}" * 101,
        b"{broken" + b"{}" * 150,
        b"{broken\n" + b"{}\n" * 101,
        b"{}\n{broken\n" + b"17\n" * 101,
        b'""' * 101 + b"{}",
        b"-1" * 101 + b"{}",
        b"{}{broken}[" + b"1," * 100 + b"1]",
    ],
)
def test_values_of_refuses_a_text_of_too_many_values(text: bytes) -> None:
    """However they are separated."""
    with pytest.raises(OverBudget) as refused:
        values_of(text, Limits(events=100))
    assert refused.value.reason is Reason.TOO_MANY_EVENTS
    assert values_of(text, Limits(events=500))


@pytest.mark.parametrize("between", [b"\n", b""], ids=["lines", "pieces"])
def test_values_of_counts_the_elements_of_all_broken_pieces_together(
    between: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the pieces holds nearly as many as a text may have."""
    made, sliced = 0, module._sliced

    def counted(*arguments: Any) -> list[bytes]:
        nonlocal made
        found = sliced(*arguments)
        made += len(found)
        return found

    monkeypatch.setattr(module, "_sliced", counted)
    with pytest.raises(OverBudget):
        values_of(b"{}{x" + (between + b"[" + b"{}," * 80 + b"{}]") * 90, Limits(events=100))
    assert made < 300


def test_values_of_does_not_count_values_nested_in_events() -> None:
    """Commas, brackets and quotes inside an event are ignored, escaped ones too."""
    event = json.dumps({"a": ["x,{}[]", '"\\', {"b": [1, 2, [3]]}] * 50}).encode()
    texts = [event * 9, b"\n \n".join([event] * 9), b"[" + b" , ".join([event] * 9) + b"]", b"\n" * 999 + event * 9]
    for text in texts:
        assert values_of(text, Limits(events=9)) == [event] * 9
        with pytest.raises(OverBudget):
            values_of(text, Limits(events=8))

"""Texts made to cost much: to split them takes few calls, and gives what a simple splitter gives."""

from __future__ import annotations

import gzip
import re
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vortex.core.decode import limits, texts
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import DEFAULT, Budget, Limits, Pot
from vortex.core.decode.reasons import OverBudget, Reason
from vortex.core.decode.records import Records
from vortex.core.decode.steps import at_once
from vortex.core.model import HOUR_MS, Record

_BYTES, _EVENTS, _TOKENS = 1 << 20, 2000, 1 << 17
_CALLS = 25 * _EVENTS
_BOM = b"\xef\xbb\xbf"
BOMBS: dict[str, bytes] = {
    "closing brackets": b"]}",
    "closing brackets and spaces": b"} ",
    "closing brackets in lines": b"]}\n",
    "closing brackets and commas": b"],",
    "closing brackets and byte order marks": b"}" + _BOM,
    "closing brackets and ten byte order marks": b"}" + 10 * _BOM,
    "closing brackets and parts of a byte order mark": b"}\xef\xbb",
    "closing brackets far apart": b"xxxxxxxxxxxxx}",
    "objects and junk": b"{}x",
    "objects and commas": b"{},",
    "objects and a wrong bracket": b'{"a":1}]}',
    "objects and junk in lines": b"{x}\n",
    "strings and junk": b'x""',
    "strings that nobody closes": b'{"a":"\n',
    "strings that a bracket ends": b'"xxxxxxxxxxxxxxx}\n',
    "strings with many escapes": b'"' + b"\\n" * 1001 + b'"',
    "strings with many quotes": b'"' + b'\\"' * 101 + b'"',
    "values in strings": b'"}{}{}{}{}{}{}{"',
    "values without an end": b'{"a":',
    "values without an end in lines": b'{"a":\n',
    "objects without an end in lines": b'{"a":{\n',
    "arrays without an end in lines": b'[{"a":1},\n',
    "backslashes": b"\\",
    "quotes after backslashes": b'\\"',
    "lone surrogates": b"\\ud83d",
    "lone surrogates in broken objects": b'{"a":"' + b"\\ud83d" * 20 + b'"x}\n',
    "lines of junk": b"x\n",
    "lines of open brackets": b"[\n",
    "line breaks": b"\n",
    "record separators in lines": b"\x1e\n",
    "byte order marks in lines": _BOM + b"\n",
    "control characters": b"\x01",
    "control characters in lines": b"\x00\n",
    "commas in lines": b",\n",
    "broken pieces of many lines": b"[" + b"x\n" * (_EVENTS - 10) + b"]{",
    "broken pieces of some lines": b"[1," + b"x\n" * (_EVENTS // 3) + b"]\n{",
    "arrays nested deeply": b"[" * 512 + b"]" * 512,
}
_BEGINS = {"": b"", "an open object": b"{x", "an open string": b'{"', "an object on a line": b"{}\n{x\n"}


@pytest.mark.parametrize("begin", _BEGINS)
@pytest.mark.parametrize("name", BOMBS)
def test_values_of_takes_few_calls_for_any_text(name: str, begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted, not time, which would depend on the load of the machine. The limits fit the text's size."""
    monkeypatch.setattr(limits, "TOKENS", _TOKENS)
    text = (_BEGINS[begin] + BOMBS[name] * (_BYTES // len(BOMBS[name])))[:_BYTES] + b"x"
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    budget = Budget(len(text), Limits(events=_EVENTS), Pot(DEFAULT))
    sys.setprofile(count)
    try:
        at_once(texts.values_of(text, budget))
    except OverBudget:
        pass
    finally:
        sys.setprofile(None)
    assert calls < _CALLS


def test_a_broken_text_of_too_many_tokens_is_one_rejection_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text with fewer tokens is split; valid text may have any number. Other records are not affected."""
    monkeypatch.setattr(limits, "TOKENS", 500)
    event = b'{"customer":"a","type":"b","id":"%d"}'
    valid = b"".join(event % number for number in range(200))
    few, many = valid[: 20 * len(event)] + b"]", valid + b"]"
    datas = [gzip.compress(text) for text in (valid, few, many, valid)]
    reader = EventReader(Decoder(Fields(("customer",), ("type",), ("id",), ("time",))), HOUR_MS, 1)
    found = reader.page(Records.of([Record(str(index), 1.0, data) for index, data in enumerate(datas)]))
    (broken, rejected) = found.rejected
    assert (broken.record, broken.reason, broken.whole) == (1, Reason.NOT_JSON, False)
    assert (rejected.record, rejected.reason, rejected.data, rejected.whole) == (
        2,
        Reason.TOO_MANY_TOKENS,
        datas[2],
        True,
    )
    assert "more than 500 strings" in rejected.detail
    counts = [int((found.record == index).sum()) for index in range(4)]
    assert counts[0] == counts[3] == 200
    assert counts[1] > 10
    assert counts[2] == 0


def test_lines_of_all_broken_pieces_are_counted_together() -> None:
    """Also where no line contains an object, so that the piece stays whole."""
    text = (b"[" + b"x\n" * 50 + b"]{") * 30
    with pytest.raises(OverBudget, match="lines of broken JSON"):
        at_once(texts.values_of(text, Budget(len(text), Limits(events=1000), Pot(DEFAULT))))
    assert at_once(texts.values_of(text, Budget(len(text), Limits(events=2000), Pot(DEFAULT))))


_MIXED = st.lists(
    st.sampled_from(
        [bytes([char]) for char in b'{}[]",:x1\\\n \r\x1e\xef\x01']
        + [_BOM, b"{}", b'{"a":1}', b'"a"', b"[{}]", b"}{", b"}\n{", b'\\"', b"\\ud83d", b"\xc3\xa9"]
        + [b"}" * 1001, _BOM * 1001, b'"' + b"\\n" * 1001, b'"' + b"\\n" * 1001 + b'"', b"x" * (1 << 18)]
    ),
    max_size=25,
).map(b"".join)


@given(_MIXED)
@example(b'"""}\n{')
@example(b'"}' + _BOM * 1001 + b"{")
@example(b"}" + _BOM * 1001 + b"}\n{")
@example(b'"' + b"\\n" * 1001 + b'}\n{"a"}{')
def test_pieces_are_cut_where_a_simple_splitter_cuts_them(text: bytes) -> None:
    """It looks at one bracket or string after another, as the rule says."""
    pieces = at_once(texts._pieces(text, Budget(len(text), DEFAULT, Pot(DEFAULT))))
    assert [text[begin:end] for begin, end in pieces] == _simply(text)


def _simply(text: bytes) -> list[bytes]:
    pieces, begin, at = [], 0, 0
    token = re.compile(rb'"(?:[^"\\\n]|\\.)*+"?|[}\]]')
    between = re.compile(rb"(?:[ \t\r\n\x1e]|\xef\xbb\xbf)*+")
    while found := token.search(text, at):
        at = found.end()
        if found[0][-1:] in (b"}", b"]"):
            gap = between.match(text, at)
            assert gap
            if text[gap.end() : gap.end() + 1] in (b"{", b"["):
                pieces.append(text[begin:at])
                begin = gap.end()
            at = gap.end()
    return [*pieces, text[begin:]]

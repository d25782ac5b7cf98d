"""Splits texts of several JSON values: concatenated, with or without line breaks, or as elements of an array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from vortex.core.decode.depth import MAX_DEPTH
from vortex.core.decode.limits import Budget
from vortex.core.decode.steps import Steps
from vortex.core.decode.structure import has_more_values, nests_deeper
from vortex.core.decode.surrogates import masking

WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_RS = b"\x1e"  # before each value of a JSON text sequence, RFC 7464
_values = msgspec.json.Decoder(msgspec.Raw).decode_lines
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_MARK = re.compile(rb'["}\]]')
# Up to the line's end if it is not closed: so each byte is scanned once.
_STRING = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?+')
_BETWEEN = re.compile(rb"(?:[ \t\r\n\x1e]|\xef\xbb\xbf)*+")
_STEP_BYTES = 1 << 18
_STEP_VALUES, _STEP_LOOKS = 500, 10_000
_BLANKS, _COMMAS = re.compile(rb"[ \t\r\n]*+"), re.compile(rb"[ \t\r\n,]*+")


def values_of(text: bytes, budget: Budget) -> Steps[list[bytes]]:
    """The JSON values in a text, without separators; the elements of arrays one by one.

    Invalid JSON stays in one piece as far as the values around it can be recognised: at most to the ends of its line.
    A text without any object is one value, valid or not. Raises OverBudget.
    """
    text = trimmed(text)
    found = yield from _all_of(text, budget)
    if found is None:
        found = []
        for number, piece in enumerate((yield from _pieces(text, budget))):
            found += (yield from _all_of(piece, budget)) or (yield from _by_lines(piece, budget))
            if len(found) > budget.parts:
                raise budget.too_many()
            if number % _STEP_VALUES == 0:
                yield
    budget.split(len(found))
    return found


def trimmed(text: bytes) -> bytes:
    """The text without surrounding white space, and without a byte order mark or record separator at its start."""
    text = text.strip(WHITE)
    if text[:1] in (_BOM[:1], _RS):
        text = text[_end_of(_BETWEEN, text, 0) :]
    return text


def _all_of(text: bytes, budget: Budget) -> Steps[list[bytes] | None]:
    """The values of a text of nothing but values; None for any other text, or if no value could be an event."""
    if (yield from has_more_values(text, budget.parts)):
        raise budget.too_many()
    hidden = yield from masking(text)
    try:
        found = _sliced(text, hidden, _values(hidden), _BLANKS)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if len(text) > _STEP_BYTES:
        yield
    if not any(value[:1] in b"{[" for value in found):
        return None
    if not any(value[:1] == b"[" for value in found):
        return found
    elements = []
    for value in found:
        elements += yield from _elements_of(value)
    return elements


def _elements_of(value: bytes) -> Steps[list[bytes]]:
    """The elements of an array. A value that is not an array, or an empty array, is returned itself."""
    if value[:1] != b"[":
        return [value]
    hidden = yield from masking(value)
    return _sliced(value[1:], hidden[1:], _elements(hidden), _COMMAS) or [value]


def _sliced(text: bytes, hidden: bytes, raws: Iterable[msgspec.Raw], between: re.Pattern[bytes]) -> list[bytes]:
    """The bytes in `text` of these values of `hidden`."""
    if hidden is text:
        values = list(raws)
        # A single value may be large: no second copy.
        return [text] if len(values) == 1 and len(memoryview(values[0])) == len(text) else list(map(bytes, values))
    slices, at = [], 0
    for raw in raws:
        begin = _end_of(between, hidden, at)
        at = begin + len(bytes(raw))
        slices.append(text[begin:at])
    return slices


def _pieces(text: bytes, budget: Budget) -> Steps[list[bytes]]:
    """The text, cut where one value ends and another begins: inside a value nothing opens directly after a bracket
    that closed.
    """
    pieces, begin, at, looks = [], 0, 0, 0
    while at < len(text):
        mark = _MARK.search(text, at, at + _STEP_BYTES)
        looks += 1
        if mark is None or looks % _STEP_LOOKS == 0:
            yield
        if mark is None:
            at += _STEP_BYTES
            continue
        end = _end_of(_STRING, text, mark.start()) if mark[0] == b'"' else mark.end()
        at = _end_of(_BETWEEN, text, end) if text[end - 1] in b"}]" else end
        if text[end - 1] in b"}]" and text[at : at + 1] in (b"{", b"["):
            pieces.append(text[begin:end])
            begin = at
            if len(pieces) > budget.parts:
                raise budget.too_many()
    return [*pieces, text[begin:]]


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    assert found  # perhaps empty
    return found.end()


def _by_lines(piece: bytes, budget: Budget) -> Steps[list[bytes]]:
    """A broken piece, split into lines if at least one line contains an object."""
    if b"\n" not in piece or (yield from nests_deeper(piece, MAX_DEPTH)):
        return [piece]
    lines: list[tuple[bytes, list[bytes] | None]] = []
    count = 0
    for begin, end in _lines_of(piece):
        if line := trimmed(piece[begin:end]):
            lines.append((line, (yield from _all_of(line, budget))))
            count += len(lines[-1][1] or [line])
            if count > budget.parts:
                raise budget.too_many()
        if begin // _STEP_BYTES != end // _STEP_BYTES or len(lines) % _STEP_VALUES == 0:
            yield
    if not any(found for _, found in lines):
        return [piece]
    return [value for line, found in lines for value in found or [line]]


def _lines_of(text: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each line; some blank lines are left out."""
    at = 0
    while at < len(text):
        at = _end_of(_BLANKS, text, at)
        end = text.find(b"\n", at)
        yield at, (end if end >= 0 else len(text))
        at = end + 1 if end >= 0 else len(text)

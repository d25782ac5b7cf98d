"""Splits texts of several JSON values: concatenated, with or without line breaks, or as elements of an array."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from vortex.core.decode.depth import MAX_DEPTH
from vortex.core.decode.limits import Budget
from vortex.core.decode.steps import Steps
from vortex.core.decode.structure import has_more_values, is_deeper_value
from vortex.core.decode.surrogates import masking

WHITE = b" \t\r\n"
_values = msgspec.json.Decoder(msgspec.Raw).decode_lines
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_BLANKS, _COMMAS = re.compile(rb"[ \t\r\n]*+"), re.compile(rb"[ \t\r\n,]*+")
_STEP_BYTES, _STEP_VALUES, _STEP_LOOKS = 1 << 18, 500, 50
_REPEATS = 1000
"""Maximum repetitions in a match: these patterns end after so many, for a pause, and `_end_of_all` goes on."""
_OPEN, _SPACE = rb"[{\[]", rb"[ \t\r\n\x1e]++|\xef\xbb\xbf"
"""Between values: white space, byte order marks, and the record separators of a JSON text sequence (RFC 7464)."""


def _repeated(pattern: bytes) -> bytes:
    return b"(?:%b){0,%d}+" % (pattern, _REPEATS)


_ESCAPES = rb'[^"\\\n]*+' + _repeated(rb'\\.[^"\\\n]*+')
_BETWEEN, _IN_STRING = re.compile(_repeated(_SPACE)), re.compile(_ESCAPES)
_CLOSED = re.compile(_repeated(rb"[}\]]++|" + _SPACE))
_MARK = re.compile(rb'["}\]]')
# Up to a place where a value may begin behind a bracket that closed: strings, which end at the line's end if nothing
# closes them, and brackets with something else behind them. Not those with more repetitions, nor what is behind them.
_NO_VALUE = re.compile(
    _repeated(
        (rb'[^"}\]]{0,%d}+(?:"' % _STEP_BYTES + _ESCAPES)
        + (rb'(?:"|(?!\\.|(?<=[}\]])' + _repeated(_SPACE) + rb"(?:" + _OPEN + rb"|" + _SPACE + rb")))")
        + (rb"|[}\]]" + _repeated(rb"[}\]]++|" + _SPACE) + rb"(?!" + _OPEN + rb"|[}\]]|" + _SPACE + rb"))")
    )
)


def values_of(text: bytes, budget: Budget) -> Steps[list[bytes]]:
    """The JSON values in a text, without separators; the elements of arrays one by one.

    Invalid JSON stays in one piece as far as the values around it can be recognised: at most to the ends of its line.
    A text in which no valid object or array is found is one value, with all of its bytes: it may be binary, where white
    space is data. Raises OverBudget.
    """
    whole, text = text, text.strip(WHITE)
    if begin := (yield from _end_of_all(_BETWEEN, text, 0)):
        text = text[begin:]
        if text[:1] in (b"{", b"["):
            whole = text  # a bracket behind a byte order mark or a record separator: not binary
    hidden = yield from masking(text)  # at once: for many short pieces it takes long
    found = yield from _all_of(text, hidden, budget)
    if found is None:
        found, some = [], False
        # A carriage return alone ends a line, too; all positions stay the same.
        lined = text.replace(b"\r", b"\n")
        pieces = yield from _pieces(lined, budget)
        for number, (begin, end) in enumerate(pieces):
            piece = text[begin:end]
            mask = piece if hidden is text else hidden[begin:end]
            # A single piece is the text, which was tried.
            its = (yield from _all_of(piece, mask, budget)) if len(pieces) > 1 else None
            its = its or (yield from _by_lines(piece, mask, lined if piece is text else lined[begin:end], budget))
            some = some or its is not None
            found += its or [piece]
            if len(found) > budget.parts:
                raise budget.too_many()
            if number % _STEP_VALUES == 0:
                yield
        if text and not some:
            found = [whole]
    budget.split(len(found))
    return found


def _all_of(text: bytes, hidden: bytes, budget: Budget) -> Steps[list[bytes] | None]:
    """The values of a text of nothing but values; None for any other text, or if no value could be an event. `hidden`:
    the text with marks for lone surrogates.
    """
    if (yield from has_more_values(text, budget.parts)):
        raise budget.too_many()
    try:
        raws = _values(hidden)
        found = _sliced(text, hidden, raws, _BLANKS)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if len(text) > _STEP_BYTES:
        yield
    if not any(value[:1] in b"{[" for value in found):
        return None
    if not any(value[:1] == b"[" for value in found):
        return found
    elements = []
    for number, (value, raw) in enumerate(zip(found, raws, strict=True)):
        elements += _elements_of(value, value if hidden is text else bytes(raw))
        if number % _STEP_VALUES == 0 and len(text) > _STEP_BYTES:
            yield
    return elements


def _elements_of(value: bytes, hidden: bytes) -> list[bytes]:
    """The elements of an array. A value that is not an array, or an empty array, is returned itself."""
    if value[:1] != b"[":
        return [value]
    if hidden is value:
        return list(map(bytes, _elements(value))) or [value]
    return _sliced(value[1:], hidden[1:], _elements(hidden), _COMMAS) or [value]


def _sliced(text: bytes, hidden: bytes, raws: Sequence[msgspec.Raw], between: re.Pattern[bytes]) -> list[bytes]:
    """The bytes in `text` of these values of `hidden`."""
    if hidden is text:
        # A single value may be large: no second copy.
        return [text] if len(raws) == 1 and len(memoryview(raws[0])) == len(text) else list(map(bytes, raws))
    slices, at = [], 0
    for raw in raws:
        begin = _end_of(between, hidden, at)
        at = begin + len(memoryview(raw))
        slices.append(text[begin:at])
    return slices


def _pieces(text: bytes, budget: Budget) -> Steps[list[tuple[int, int]]]:
    """Begin and end of the text's pieces, cut where one value ends and another begins: inside a value nothing opens
    directly after a bracket that closed.
    """
    yield from _count_tokens(text, budget)
    pieces, begin, at, looks, paused = [], 0, 0, 0, 0
    while at < len(text):
        at = _end_of(_NO_VALUE, text, at)
        mark = _MARK.search(text, at, at + _STEP_BYTES)
        looks += 1
        if mark is None:
            at += _STEP_BYTES
            yield
            continue
        if looks % _STEP_LOOKS == 0 or mark.start() > paused + _STEP_BYTES:
            paused = mark.start()
            yield
        closed = mark.start()
        if mark[0] == b'"':
            at = yield from _end_of_all(_IN_STRING, text, mark.end())
            if text[at - 1] not in b"}]" or text.startswith(b'"', at):
                at += text.startswith(b'"', at)
                continue
            closed = at - 1  # no quote closes the string: perhaps the bracket does
        at = yield from _end_of_all(_CLOSED, text, closed)
        if text.startswith((b"{", b"["), at):
            end = 1 + max(text.rfind(b"}", closed, at), text.rfind(b"]", closed, at))
            pieces.append((begin, end))
            begin = at
            if len(pieces) > budget.parts:
                raise budget.too_many()
    return [*pieces, (begin, len(text))]


def _count_tokens(text: bytes, budget: Budget) -> Steps[None]:
    """Count strings, closing brackets and half of the backslashes: the work of `_pieces`."""
    for at in range(0, len(text), _STEP_BYTES):
        some = text[at : at + _STEP_BYTES]
        halves = some.count(b'"') + some.count(b"\\")
        budget.searched(len(some) - len(some.translate(None, b'"\\}]')) - halves // 2)
        yield


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    assert found  # perhaps empty
    return found.end()


def _end_of_all(pattern: re.Pattern[bytes], text: bytes, at: int) -> Steps[int]:
    """The end of all repetitions of a pattern that takes at most _REPEATS at once."""
    while (end := _end_of(pattern, text, at)) - at >= _REPEATS:
        at = end
        yield
    return end


def _by_lines(piece: bytes, hidden: bytes, lined: bytes, budget: Budget) -> Steps[list[bytes] | None]:
    """The lines of a broken piece; None if no line contains an object, or if the piece is one value that is only too
    deep: then its lines are not events. `lined`: the piece with line feeds for carriage returns.
    """
    if b"\n" not in lined or (yield from is_deeper_value(piece, MAX_DEPTH)):
        return None
    values: list[bytes] = []
    at, some = 0, False
    while (begin := (yield from _end_of_all(_BETWEEN, piece, at))) < len(piece):
        end = lined.find(b"\n", begin)
        before, at = at, end if end >= 0 else len(piece)
        line = piece[begin:at].rstrip(WHITE)
        budget.tried()
        mask = line if hidden is piece else hidden[begin : begin + len(line)]
        found = yield from _all_of(line, mask, budget)
        some = some or found is not None
        values += found or [line]
        if len(values) > budget.parts:
            raise budget.too_many()
        if before // _STEP_BYTES != at // _STEP_BYTES or budget.lines % _STEP_VALUES == 0:
            yield
    return values if some else None

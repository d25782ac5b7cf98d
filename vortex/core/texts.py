"""Texts that hold several JSON values: one after another, with or without line breaks, or as elements of an array."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from vortex.core.depth import is_too_deep
from vortex.core.surrogates import masked

WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_RS = b"\x1e"  # before each value of a JSON text sequence, RFC 7464
_BEFORE = re.compile(rb"(?:[ \t\r\n\x1e]|\xef\xbb\xbf)*+")
_values = msgspec.json.Decoder(msgspec.Raw).decode_lines
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
# A string (to the line's end where it is not closed: each byte is looked at once), or the place between two values:
# inside of a value nothing opens right behind what closed.
_JOINT = re.compile(
    rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?+|(?P<joint>(?<=[}\]])(?:[ \t\r\n\x1e]|\xef\xbb\xbf)*+(?=[{\[]))'
)


def values_of(text: bytes) -> list[bytes]:
    """The JSON values in a text, without what stands between them; elements of arrays one by one.

    What is no JSON stays together as far as values around it can be told from it: at most to the ends of its line.
    A text of which nothing is an object is one value, broken or not.
    """
    text = trimmed(text)
    if (found := _all_of(text)) is not None:
        return found
    values: list[bytes] = []
    for piece in _pieces(text):
        values += _all_of(piece) or _by_lines(piece)
    return values


def trimmed(text: bytes) -> bytes:
    """The text without white space around it, and without a byte order mark or a record separator at its beginning."""
    text = text.strip(WHITE)
    if text[:1] in (_BOM[:1], _RS):
        before = _BEFORE.match(text)
        assert before  # perhaps empty
        text = text[before.end() :]
    return text


def _all_of(text: bytes) -> list[bytes] | None:
    """The values of a text that is nothing but values; None for another one, or where none could be an event."""
    hidden = masked(text)
    try:
        found = _sliced(text, hidden, _values(hidden), WHITE)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not any(value[:1] in b"{[" for value in found):
        return None
    if not any(value[:1] == b"[" for value in found):
        return found
    return [element for value in found for element in _elements_of(value)]


def _elements_of(value: bytes) -> list[bytes]:
    """The elements of an array; what is none, or empty, stands for itself."""
    if value[:1] != b"[":
        return [value]
    hidden = masked(value)
    return _sliced(value[1:], hidden[1:], _elements(hidden), WHITE + b",") or [value]


def _sliced(text: bytes, hidden: bytes, raws: Iterable[msgspec.Raw], between: bytes) -> list[bytes]:
    """These values of `hidden` as they stand in the text."""
    if hidden is text:
        return [bytes(raw) for raw in raws]
    slices, at = [], 0
    for raw in raws:
        while hidden[at] in between:
            at += 1
        slices.append(text[at : at + len(bytes(raw))])
        at += len(slices[-1])
    return slices


def _pieces(text: bytes) -> list[bytes]:
    """The text cut wherever one value ends and another begins."""
    joints = [match for match in _JOINT.finditer(text) if match["joint"] is not None]
    begins, ends = [0, *(joint.end() for joint in joints)], [*(joint.start() for joint in joints), len(text)]
    return [text[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _by_lines(piece: bytes) -> list[bytes]:
    """A broken piece: the lines of it, where one of them is an object after all."""
    if b"\n" not in piece or is_too_deep(piece):
        return [piece]
    lines = [line for line in map(trimmed, piece.split(b"\n")) if line]
    found = [_all_of(line) for line in lines]
    if not any(found):
        return [piece]
    return [value for line, several in zip(lines, found, strict=True) for value in several or [line]]

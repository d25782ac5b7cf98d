"""The slow road of decoding: one part, looked at closely, to find out what is wrong with it, or that it is fine.

What this says of an event is what holds: the other roads (columns, C) leave to it whatever they are not sure of. It
makes no value of what nobody asks for, so a number beyond the range of a double, or an integer of ten thousand digits,
is no fault where it only has to be kept.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from vortex.core.decode.codecs import is_wide, unread_format
from vortex.core.decode.depth import MAX_DEPTH, is_too_deep
from vortex.core.decode.fields import NAMES, Fields, Paths, paths_of
from vortex.core.decode.paths import Node, trie_of
from vortex.core.decode.reasons import MISSING, Reason, Refused
from vortex.core.decode.surrogates import MARKS, masked

MOST_KEYS = 100_000
"""Keys of an event that is looked at closely; each of them takes some hundred bytes meanwhile."""
NAME_LIMIT = 64 * 1024
"""Characters that a customer and a type may have together."""
_BAD = {"customer": Reason.BAD_CUSTOMER, "type": Reason.BAD_TYPE, "id": Reason.BAD_ID}
_INTEGER = re.compile(rb"-?[0-9]+")
_KINDS = {b'"': "string", b"[": "array", b"t": "boolean", b"f": "boolean", b"n": "null"}
_raw = msgspec.json.Decoder(msgspec.Raw).decode
_text = msgspec.json.Decoder(str).decode
Values = dict[tuple[str, ...], bytes]
"""What stands at the paths, as JSON."""


class _Key:
    """One key of an object, which is no other one, whatever it is called: so none takes the place of another."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_members = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=lambda _, name: _Key(name)).decode


class SlowDecoder:
    """Reads the four fields of one event."""

    def __init__(self, fields: Fields) -> None:
        self._fields, self._paths = fields, paths_of(fields)
        self._trie = trie_of(self._paths)

    def __call__(self, data: bytes) -> tuple[str, str, str | None, Any]:
        """Customer, type, id (None where the content takes its place) and time (a text or number, or None).

        Raises Refused, for a reason.
        """
        text = self._object(data)
        if data.count(b":") > MOST_KEYS:
            raise Refused(Reason.TOO_MANY_KEYS, f"not plain, and of more than {MOST_KEYS} keys")
        values = self._values(text)
        found = [self._text_of(values, name) for name in NAMES[:3]]
        times = self._times(values)
        if text is not data:
            other = self._values(masked(data, MARKS[1]))
            for name, value in zip(NAMES, found, strict=False):
                if self._text_of(other, name) != value:
                    raise Refused(_BAD[name], f"{name} has half a character: a lone surrogate")
        customer, kind, key = found
        assert customer is not None and kind is not None
        if len(customer) + len(kind) > NAME_LIMIT:
            raise Refused(Reason.TOO_LARGE, "customer and type together are over 64 KiB")
        return customer, kind, key, times[0] if times else None

    def times(self, data: bytes) -> list[str | int | float]:
        """The texts and numbers at the paths of the time, in their order, of an event that is known to be one."""
        return self._times(self._values(masked(data)))

    def _object(self, data: bytes) -> bytes:
        """The text, with marks for lone surrogates, of what is one JSON object. Raises Refused."""
        if not data.strip():
            raise Refused(Reason.EMPTY, "nothing but white space")
        try:
            data.decode()
        except UnicodeDecodeError as problem:
            raise _not(data, Reason.NOT_UTF8, f"byte {problem.start}: {problem.reason}") from None
        if is_too_deep(data):
            raise Refused(Reason.TOO_DEEP, f"nests deeper than {MAX_DEPTH}")
        text = masked(data)
        try:
            _raw(text)
        except RecursionError:
            raise Refused(Reason.TOO_DEEP, f"nests deeper than {MAX_DEPTH}") from None
        except msgspec.MsgspecError as problem:
            raise _not(data, Reason.NOT_JSON, str(problem)) from None
        kind = text.lstrip()[:1]
        if kind != b"{":
            if kind == b"[" and not text.strip()[1:-1].strip():
                raise Refused(Reason.EMPTY, "an empty JSON array")
            raise Refused(Reason.NOT_AN_OBJECT, f"a JSON {_KINDS.get(kind, 'number')}, not an object")
        if text is not data and self._fields.lone_surrogates == "reject":
            raise Refused(Reason.LONE_SURROGATE, 'half a character (event.lone_surrogates = "reject")')
        return text

    def _values(self, text: bytes) -> Values:
        values: Values = {}
        _walk(text, self._trie, values)
        return values

    def _chosen(self, values: Values, name: str) -> bytes | None:
        """The first value that is neither null nor an empty text."""
        several = (values.get(path, b"null") for path in self._paths[name])
        return next((value for value in several if value not in (b"null", b'""')), None)

    def _text_of(self, values: Values, name: str) -> str | None:
        value = self._chosen(values, name)
        if value is None:
            if name == "id" and self._fields.missing_id == "hash":
                return None
            raise missing(name, self._paths)
        if value[:1] == b'"':
            text: str = _text(value)
            return text
        if not _INTEGER.fullmatch(value):
            raise Refused(_BAD[name], f"{name} is neither a string nor an integer")
        return "0" if value == b"-0" else value.decode()

    def _times(self, values: Values) -> list[str | int | float]:
        several = [values.get(path, b"null") for path in self._paths["time"]]
        return [time_value(value) for value in several if value != b'""' and value[:1] in b'"-0123456789']


def missing(name: str, paths: Paths) -> Refused:
    """What to raise for an event without customer, type or id."""
    return Refused(MISSING[name], f"none of {['.'.join(path) for path in paths[name]]} is present")


def time_value(value: bytes) -> str | int | float:
    """The text or number that this JSON is; a number beyond the range of numbers as its own text, which no time is."""
    try:
        found: str | int | float = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return value.decode()
    return found


def _walk(text: bytes, node: Node, values: Values, path: tuple[str, ...] = ()) -> None:
    """Enter what stands at the paths below `node`. Raises Refused for a key of theirs that its object has twice."""
    met: dict[str, bytes] = {}
    for key, value in _members(text).items():
        if key.name in node:
            if key.name in met:
                raise Refused(Reason.DUPLICATE_KEY, f"the key {'.'.join((*path, key.name))} stands twice")
            met[key.name] = bytes(value)
    for name, inner in met.items():
        below, here = node[name], (*path, name)
        if below.fields:
            values[here] = inner
        if below and inner[:1] == b"{":
            _walk(inner, below, values, here)


def _not(data: bytes, reason: Reason, detail: str) -> Refused:
    """Why something is no JSON: it is something else, or it is broken."""
    if (name := unread_format(data)) is not None:
        return Refused(Reason.UNSUPPORTED_FORMAT, f"looks like {name}")
    return Refused(reason, f"{detail}; looks like UTF-16 or UTF-32" if is_wide(data) else detail)

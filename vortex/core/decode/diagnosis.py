"""The slow decoder: checks one part thoroughly, to find out what is wrong with it, or that it is valid.

Its answer is authoritative: the fast decoders (columns, C) pass on every event they are not certain about. It decodes
only the requested values, so a number beyond the range of a double, or an integer of ten thousand digits, in the
rest of the event is not an error.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from vortex.core.decode.codecs import unread_format, wide_encoding
from vortex.core.decode.depth import MAX_DEPTH, is_too_deep
from vortex.core.decode.fields import NAMES, Fields, Paths, paths_of
from vortex.core.decode.paths import Node, trie_of
from vortex.core.decode.reasons import MISSING, Reason, Refused
from vortex.core.decode.shape import Picker
from vortex.core.decode.steps import at_once
from vortex.core.decode.structure import has_more_keys
from vortex.core.decode.surrogates import MARKS, masked

MOST_KEYS = 100_000
"""Maximum keys of an event for the slow decoder; each takes a few hundred bytes while decoding."""
NAME_LIMIT = 1024
"""Maximum characters of customer and type together: every partition has them in the footers of its segments, and in the
document of each publication.
"""
_BAD = {"customer": Reason.BAD_CUSTOMER, "type": Reason.BAD_TYPE, "id": Reason.BAD_ID}
_INTEGER = re.compile(rb"-?[0-9]+")
_KINDS = {b'"': "string", b"[": "array", b"t": "boolean", b"f": "boolean", b"n": "null"}
_raw = msgspec.json.Decoder(msgspec.Raw).decode
_text = msgspec.json.Decoder(str).decode
Values = dict[tuple[str, ...], bytes]
"""The values at the paths, as JSON."""


class _Key:
    """One key of an object. Never equal to another, even with the same name, so no key replaces another in a dict."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_members = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=lambda _, name: _Key(name)).decode


class SlowDecoder:
    """Reads the four fields of one event."""

    def __init__(self, fields: Fields) -> None:
        self._fields, self._paths = fields, paths_of(fields)
        self._trie = trie_of(self._paths)
        self._time = Picker(trie_of({"time": self._paths["time"]}))

    def __call__(self, data: bytes) -> tuple[str, str, str | None, Any]:
        """Customer, type, id (None if the content is hashed instead) and time (a text or number, or None).

        Raises Refused with a reason.
        """
        text = self._object(data)
        if at_once(has_more_keys(data, MOST_KEYS)):
            raise Refused(Reason.TOO_MANY_KEYS, f"needs the slow decoder and has more than {MOST_KEYS} keys")
        values = self._values(text)
        found = [self._text_of(values, name) for name in NAMES[:3]]
        times = self._times(values)
        if text is not data:
            other = self._values(masked(data, MARKS[1]))
            for name, value in zip(NAMES, found, strict=False):
                if self._text_of(other, name) != value:
                    raise Refused(_BAD[name], f"{name} contains a lone surrogate")
        customer, kind, key = found
        assert customer is not None and kind is not None
        if len(customer) + len(kind) > NAME_LIMIT:
            raise Refused(Reason.TOO_LARGE, f"customer and type together are over {NAME_LIMIT} characters")
        return customer, kind, key, times[0] if times else None

    def times(self, data: bytes) -> list[str | int | float]:
        """The texts and numbers at the paths of the time, in order, of a valid event, with any number of keys."""
        return self._times(self._time.values(masked(data)))

    def _object(self, data: bytes) -> bytes:
        """The text of one JSON object, with marks for lone surrogates. Raises Refused."""
        if not data.strip():
            raise Refused(Reason.EMPTY, "only white space")
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
            raise Refused(Reason.LONE_SURROGATE, 'a lone surrogate (event.lone_surrogates = "reject")')
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
    """The error for an event without customer, type or id."""
    return Refused(MISSING[name], f"none of {['.'.join(path) for path in paths[name]]} is present")


def time_value(value: bytes) -> str | int | float:
    """The text or number of this JSON. A number out of range is returned as its text, which is not a valid time.

    A lone surrogate is read as its mark, whoever reads the event.
    """
    try:
        found: str | int | float = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        hidden = masked(value)
        return value.decode() if hidden is value else time_value(hidden)
    return found


def _walk(text: bytes, node: Node, values: Values, path: tuple[str, ...] = ()) -> None:
    """Collect the values at the paths below `node`. Raises Refused if an object has a key of a path twice."""
    found: dict[str, bytes] = {}
    for key, value in _members(text).items():
        if key.name in node:
            if key.name in found:
                raise Refused(Reason.DUPLICATE_KEY, f"the key {'.'.join((*path, key.name))} occurs twice")
            found[key.name] = bytes(value)
    for name, inner in found.items():
        below, here = node[name], (*path, name)
        if below.fields:
            values[here] = inner
        if below and inner[:1] == b"{":
            _walk(inner, below, values, here)


def _not(data: bytes, reason: Reason, detail: str) -> Refused:
    """Why something is not JSON: it is a known other format, or it is broken."""
    if (name := unread_format(data)) is not None:
        return Refused(Reason.UNSUPPORTED_FORMAT, f"looks like {name}")
    if (encoding := wide_encoding(data)) is not None:
        return Refused(Reason.NOT_UTF8, f"{detail}; looks like {encoding}")
    return Refused(reason, detail)

"""The slow road of decoding: one part, looked at closely, to find out what is wrong with it, or that it is fine."""

from __future__ import annotations

from typing import Any

import msgspec

from vortex.core.fields import NAMES, Occurrences, Paths
from vortex.core.reasons import Reason, Refused

MAX_DEPTH = 4096
NAME_LIMIT = 64 * 1024
"""Characters that a customer and a type may have together."""
_MISSING = {"customer": Reason.MISSING_CUSTOMER, "type": Reason.MISSING_TYPE, "id": Reason.MISSING_ID}
_BAD = {"customer": Reason.BAD_CUSTOMER, "type": Reason.BAD_TYPE, "id": Reason.BAD_ID}


class CloseReader:
    """Reads the four fields of one event by a generic decode."""

    def __init__(self, paths: Paths, once: Occurrences, *, hash_missing: bool) -> None:
        self._paths, self._once, self._hash_missing = paths, once, hash_missing

    def __call__(self, data: bytes) -> tuple[str, str, str | None, Any]:
        """Customer, type, id (None where the content takes its place) and time. Raises Refused, for a reason."""
        event = _parse(data)
        found: dict[str, Any] = {name: self._value(event, name) for name in NAMES}
        if not self._once(data):
            raise Refused(Reason.DUPLICATE_KEY, "the key of the customer or of the id stands twice")
        if len(found["customer"]) + len(found["type"]) > NAME_LIMIT:
            raise Refused(Reason.TOO_LARGE, "customer and type together are over 64 KiB")
        return found["customer"], found["type"], found["id"], found["time"]

    def _value(self, event: dict[str, Any], name: str) -> Any:
        values = (_walk(event, path) for path in self._paths[name])
        value = next((v for v in values if v is not None and v != ""), None)
        if name == "time":
            return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        if value is None:
            if name == "id" and self._hash_missing:
                return None
            raise Refused(_MISSING[name], f"none of {['.'.join(p) for p in self._paths[name]]} is present")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Refused(_BAD[name], f"{name} is neither a string nor an integer")
        return str(value)


def is_deep(data: bytes) -> bool:
    """Whether the text might nest deeper than MAX_DEPTH; cheap, and never False for one that does."""
    return data.count(b"{") + data.count(b"[") > MAX_DEPTH


def _walk(event: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(event, dict):
            return None
        event = event.get(part)
    return event


def _parse(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise Refused(Reason.EMPTY, "nothing but white space")
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        raise Refused(Reason.NOT_UTF8, f"byte {problem.start}: {problem.reason}") from None
    _check_depth(data)
    try:
        event = msgspec.json.decode(data)
    except RecursionError:
        raise Refused(Reason.TOO_DEEP, "nested too deep") from None
    except msgspec.DecodeError as problem:
        raise Refused(Reason.NOT_JSON, str(problem)) from None
    if not isinstance(event, dict):
        raise Refused(Reason.NOT_AN_OBJECT, f"a JSON {type(event).__name__}, not an object")
    return event


def _check_depth(data: bytes) -> None:
    """Interpreters differ in how deep they recurse; at MAX_DEPTH all of them refuse. Raises Refused."""
    if not is_deep(data):
        return
    depth = at = 0
    while at < len(data):
        char = data[at]
        if char == 0x22:
            try:
                at = _string_end(data, at)
            except ValueError:
                return
            continue
        if char in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")
        elif char in b"}]":
            depth -= 1
        at += 1


def _string_end(data: bytes, at: int) -> int:
    """The place behind the string that begins at `at`."""
    end = data.index(b'"', at + 1)
    while True:
        back = end - 1
        while data[back] == 0x5C:
            back -= 1
        if (end - back) % 2:
            return end + 1
        end = data.index(b'"', end + 1)

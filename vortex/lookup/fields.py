"""Which fields of an event are found at the configured paths, and which paths the data have instead."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import msgspec

from vortex.core.decode.fields import NAMES, Fields, paths_of
from vortex.core.decode.time_formats import time_format
from vortex.core.periods import PeriodReader

_EVENTS = 1000
"""Maximum events that are looked into: Python objects are made of them."""
_EVENT_BYTES = 1 << 20
_DEPTH, _PATHS = 8, 2000
_EXAMPLES = 3
_EXAMPLE_LENGTH = 40
_NEAR = 3
"""How many paths a message names."""
_LEAST_LIKENESS = 0.6
_DIGITS = 100
"""More digits of an integer change nothing: it is no time, but a name."""
_HALF = re.compile(r"[\ud800-\udfff]")
_USUAL = {
    "customer": {"customer", "customerid", "tenant", "tenantid", "account", "accountid", "namespace", "org", "login"}
    | {"organization", "workspace", "project", "client", "clientid", "company", "writekey", "site", "shop"},
    "type": {"type", "event", "eventtype", "eventname", "name", "action", "kind", "topic"},
    "id": {"id", "messageid", "eventid", "uuid", "guid", "insertid", "requestid"},
    "time": {"time", "timestamp", "ts", "at", "createdat", "receivedat", "sentat", "date", "datetime", "eventtime"}
    | {"originaltimestamp", "occurredat"},
}
"""Names that such fields often have, in lower case and without separators."""


@dataclass(slots=True)
class FieldShare:
    """Of the events that were looked into: how many have the field at one of its paths, and how many a usable value.

    `unreadable` are examples of values that are not usable.
    """

    paths: tuple[str, ...]
    present: int = 0
    readable: int = 0
    unreadable: list[str] = field(default_factory=list)


class FieldSample:
    """Looks into events as generic JSON. Counts, for each field and for each path of the data, the usable values."""

    def __init__(self, fields: Fields) -> None:
        self.events = 0
        self.shares = {name: FieldShare(getattr(fields, name)) for name in NAMES}
        self._paths = paths_of(fields)
        self._times = PeriodReader(60_000, [time_format(pattern) for pattern in fields.time_format])
        self._named: Counter[str] = Counter()
        self._timed: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether no more events are needed."""
        return self.events >= _EVENTS

    def add(self, data: bytes) -> None:
        """Look into one event. Ignores what is not a JSON object."""
        if self.full or len(data) > _EVENT_BYTES:
            return
        event = decoded(data)
        if not isinstance(event, dict):
            return
        self.events += 1
        for name, share in self.shares.items():
            self._count(name, share, event)
        for path, value in _leaves(event):
            if path in self._named or path in self._timed or len(self._named) + len(self._timed) < _PATHS:
                self._named[path] += self._usable("id", value)
                self._timed[path] += self._usable("time", value)

    def _count(self, name: str, share: FieldShare, event: dict[str, Any]) -> None:
        found = [value for path in self._paths[name] if (value := value_at(event, path)) is not None and value != ""]
        share.present += bool(found)
        # The first present value is a customer, type or id; of times, the first that can be read.
        if any(self._usable(name, value) for value in (found if name == "time" else found[:1])):
            share.readable += 1
        elif found and len(share.unreadable) < _EXAMPLES:
            share.unreadable.append(repr(found[0])[:_EXAMPLE_LENGTH])

    def _usable(self, name: str, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            return False
        if name == "time":
            return self._times.read(value) is not None
        return isinstance(value, int) or (isinstance(value, str) and not _HALF.search(value))

    def near(self, name: str) -> list[tuple[str, float]]:
        """The paths of the data that are most like the configured ones, each with its share of usable values.

        Best first; of a field without a similar one, the paths that most events have.
        """
        there = self._timed if name == "time" else self._named
        configured = self.shares[name].paths
        scored = [
            (max(_likeness(path, wanted) for wanted in configured) + 0.3 * (_last(path) in _USUAL[name]), count, path)
            for path, count in there.items()
            if count and path not in configured
        ]
        alike = sorted((row for row in scored if row[0] >= _LEAST_LIKENESS), key=lambda row: (-row[0], -row[1], row[2]))
        rest = sorted((row for row in scored if row[0] < _LEAST_LIKENESS), key=lambda row: (-row[1], -row[0], row[2]))
        return [(path, count / self.events) for _, count, path in (alike or rest)[:_NEAR]]

    def likely(self, name: str) -> bool:
        """Whether another path of the data looks like this field."""
        there = self._timed if name == "time" else self._named
        return any(count and _last(path) in _USUAL[name] for path, count in there.items())


def decoded(data: bytes) -> Any:
    """The value of a JSON text; None if it is none. Events may have what msgspec refuses: lone surrogates, and numbers
    out of the range of a double. Integers of more than a hundred digits are cut.
    """
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(data.decode(), parse_int=lambda digits: int(digits[:_DIGITS]), parse_constant=_refuse)
    return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def value_at(event: Any, path: tuple[str, ...]) -> Any:
    """The value at this path; None if there is none."""
    for key in path:
        if not isinstance(event, dict):
            return None
        event = event.get(key)
    return event


def _leaves(event: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The dotted paths of texts and numbers. A key with a dot or half a character cannot be written as a path."""
    for key, value in event.items():
        if not key or "." in key or _HALF.search(key):
            continue
        path = f"{before}.{key}" if before else key
        if isinstance(value, dict):
            if depth < _DEPTH:
                yield from _leaves(value, path, depth + 1)
        else:
            yield path, value


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _last(path: str) -> str:
    return _bare(path.rpartition(".")[2])


def _likeness(path: str, wanted: str) -> float:
    whole = SequenceMatcher(None, _bare(path), _bare(wanted)).ratio()
    return max(whole, 0.95 * SequenceMatcher(None, _last(path), _last(wanted)).ratio())

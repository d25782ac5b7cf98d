"""A Struct made of the paths, which skips all the rest of an event at C speed; and which events give a key twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from operator import attrgetter, is_
from typing import Any, NamedTuple

import msgspec
import numpy as np

from vortex.core.fields import NAMES, Paths
from vortex.core.trie import Node, trie_of


class _Place(NamedTuple):
    """A key of the paths: how to get what stands there, and what that is where nothing does."""

    get: Callable[[Any], Any]
    absent: Any


class Shape:
    """A Struct that reads just the paths. It refuses an event that has a value of any other type there.

    `getters` are, for each field, one a path; one raises AttributeError for a null on its way.
    """

    def __init__(self, paths: Paths) -> None:
        places: dict[tuple[str, ...], _Place] = {}
        struct = _struct(trie_of(paths), (), "", places)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self.getters = {name: [places[path].get for path in paths[name]] for name in NAMES}
        keys = {path[-1] for path in places}
        self._keys = [
            (Probe(f'"{key}"'.encode()), [place for path, place in places.items() if path[-1] == key]) for key in keys
        ]
        # How an escape of any character of the keys begins: a key may be written with escapes, too.
        plain = all(key.isascii() and key.isprintable() and not set(key) & set('"\\/') for key in keys)
        self._escape = b"\\u00" if plain else b"\\"

    def suspects(self, joined: bytes, datas: list[bytes], events: list[Any]) -> list[bytes]:
        """Those of the events' datas that may give a key of the paths twice in one object; the others do not.

        `joined` are all datas. Where a key stands in all of them as often as there are values at it, it stands at each
        of these places once, and nowhere else. Raises AttributeError, as getters do.
        """
        suspected = [probe.key for probe, places in self._keys if self._is_spare(probe, places, joined, events)]
        escaped = self._escape in joined
        if not suspected and not escaped:
            return []
        return [
            data
            for data in datas
            if (escaped and self._escape in data) or any(data.count(key) > 1 for key in suspected)
        ]

    def _is_spare(self, probe: Probe, places: list[_Place], joined: bytes, events: list[Any]) -> bool:
        times = sum(len(events) - sum(map(is_, map(place.get, events), repeat(place.absent))) for place in places)
        return probe.may_exceed(joined, times) and joined.count(probe.key) > times


class Probe:
    """Asks whether a key may stand in some bytes more than so often, by counting a part of it: two bytes, compared as
    numbers at both offsets, take a quarter of the time of counting the key itself.

    Which two bytes of it are rare depends on the traffic, so those are kept that were rare so far. Where none are, four
    from its middle have to do, which take half of that time.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._parts = [key[at : at + 2] for at in range(1, len(key) - 2)]
        begin = (len(key) - 4) // 2
        self._parts.append(key[begin : begin + 4] if len(key) >= 4 else b"")
        self._equal = np.empty(0, dtype=np.bool_)

    def may_exceed(self, data: bytes, times: int) -> bool:
        """False only where the key certainly stands there no more than so often."""
        part = self._parts[0]
        if not part or self._count(data, part) > times:
            if len(self._parts) > 1:
                del self._parts[0]
            return True
        return False

    def _count(self, data: bytes, part: bytes) -> int:
        """How often two or four bytes stand in `data`, at any offset."""
        size = len(part)
        wanted, found = int.from_bytes(part, "little"), 0
        if len(self._equal) < len(data) // size:
            self._equal = np.empty(len(data) // size, dtype=np.bool_)
        for offset in range(min(size, max(0, len(data) - size + 1))):
            numbers = np.frombuffer(data, f"<u{size}", (len(data) - offset) // size, offset)
            equal = np.equal(numbers, wanted, out=self._equal[: len(numbers)])
            found += int(np.count_nonzero(equal))
        return found


def _struct(node: Node, path: tuple[str, ...], before: str, places: dict[tuple[str, ...], _Place]) -> Any:
    members = []
    rename = {}
    for number, (key, below) in enumerate(node.items()):
        member = f"f{number}"
        rename[member] = key
        inner = _struct(below, (*path, key), f"{before}{member}.", places) if below else None
        absent = inner() if inner else None
        places[*path, key] = _Place(attrgetter(before + member), absent)
        members.append((member, inner | None if inner else _type(below.fields), absent))
    return msgspec.defstruct("Event", members, rename=rename, gc=False, frozen=True)


def _type(fields: list[str]) -> Any:
    """What may stand there; where fields disagree on that, anything, and a close look decides."""
    if "time" not in fields:
        return str | int | None
    return str | int | float | None if set(fields) == {"time"} else Any

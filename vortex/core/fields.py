"""The fields that Vortex reads of an event, and Structs made of their paths, which skip all the rest at C speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import msgspec
import numpy as np

NAMES = ("customer", "type", "id", "time")
Paths = dict[str, list[tuple[str, ...]]]
"""For each of NAMES the paths to look along, first present wins."""
Getters = dict[str, list[Callable[[Any], Any]]]
"""For each field one getter a path, of what a Struct has read."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Where an event keeps what Vortex needs: for each field its paths, first present wins."""

    customer: tuple[str, ...]
    type: tuple[str, ...]
    id: tuple[str, ...]
    time: tuple[str, ...]
    missing_id: Literal["hash", "reject"] = "hash"


def paths_of(fields: Fields) -> Paths:
    """The paths, taken apart. Raises ValueError for one with an empty part."""
    paths = {name: [tuple(p.split(".")) for p in getattr(fields, name)] for name in NAMES}
    for name, several in paths.items():
        if not several or any(not part for path in several for part in path):
            raise ValueError(f"event.{name}: {list(getattr(fields, name))} is no dotted path")
    return paths


class _Leaf:
    """Stands for a value in a Struct that only counts."""


_LEAF = _Leaf()


class Occurrences:
    """Whether the customer and the id of an event stand there once: a key given twice means two things to two readers.

    The decoder takes the last of equal keys and tells nobody. But it asks for each value of a type that it does not
    know, those that it then throws away included: more questions than values are a key that stood there twice.
    """

    def __init__(self, paths: Paths) -> None:
        struct, getters = _shaped(paths, {"customer": _Leaf | None, "id": _Leaf | None})
        self._getters = [get for several in getters.values() for get in several]
        self._asked = 0
        self._decode = msgspec.json.Decoder(struct, dec_hook=self._hook).decode
        names = {path[-1] for name in ("customer", "id") for path in paths[name]}
        self._probes = [Probe(b'"%s"' % name.encode()) for name in sorted(names)]

    def _hook(self, _: type, value: object) -> _Leaf:
        self._asked += 1
        return _LEAF

    def suspects(self, data: bytes, events: int) -> bool:
        """Whether any of the keys stands in `data`, at any depth, more often than there are events. Cheap."""
        return any(probe.may_exceed(data, events) and data.count(probe.key) > events for probe in self._probes)

    def __call__(self, data: bytes) -> bool:
        """True where both stand once at most."""
        self._asked = 0
        try:
            event = self._decode(data)
            values = [get(event) for get in self._getters]
        except (msgspec.MsgspecError, AttributeError):
            return True  # a scalar on the way of a path: whoever reads the values has to say what is wrong
        return self._asked == sum(1 for value in values if value is not None)


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


def shape(paths: Paths) -> tuple[Any, Getters]:
    """A Struct that reads just the paths, and the getters of their values. A null on the way of a path makes its getter
    raise AttributeError.
    """
    return _shaped(paths, {name: str | int | float | None if name == "time" else str | int | None for name in paths})


def _shaped(paths: Paths, leaves: dict[str, Any]) -> tuple[Any, Getters]:
    trie: dict[str, Any] = {}
    names: dict[tuple[str, ...], str] = {}
    for name, leaf in leaves.items():
        for path in paths[name]:
            node = trie
            for part in path[:-1]:
                below = node.setdefault(part, {})
                if not isinstance(below, dict):
                    below = node[part] = {}
                node = below
            known = node.get(path[-1])
            # Two fields may read one key; where they disagree on its type, the slow road decides.
            node[path[-1]] = leaf if known is None or known == leaf else (known if isinstance(known, dict) else Any)
    _name(trie, (), "", names)
    return _struct(trie), {name: [attrgetter(names[path]) for path in paths[name]] for name in leaves}


def _name(node: dict[str, Any], path: tuple[str, ...], dotted: str, names: dict[tuple[str, ...], str]) -> None:
    for number, (part, below) in enumerate(node.items()):
        here = f"{dotted}f{number}"
        names[*path, part] = here
        if isinstance(below, dict):
            _name(below, (*path, part), here + ".", names)


def _struct(node: dict[str, Any]) -> Any:
    members = []
    rename = {}
    for number, (part, below) in enumerate(node.items()):
        rename[f"f{number}"] = part
        if isinstance(below, dict):
            inner = _struct(below)
            members.append((f"f{number}", inner | None, inner()))
        else:
            members.append((f"f{number}", below, None))
    return msgspec.defstruct("Event", members, rename=rename, gc=False, frozen=True)

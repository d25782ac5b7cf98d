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
        self._keys = tuple(sorted(b'"%s"' % name.encode() for name in names))
        self._middles = {key: int.from_bytes(_middle(key), "little") for key in self._keys if len(key) >= 4}

    def _hook(self, _: type, value: object) -> _Leaf:
        self._asked += 1
        return _LEAF

    def suspects(self, data: bytes, events: int) -> bool:
        """Whether any of the keys stands in `data`, at any depth, more often than there are events. Cheap."""
        return any(self._may_exceed(data, key, events) and data.count(key) > events for key in self._keys)

    def _may_exceed(self, data: bytes, key: bytes, events: int) -> bool:
        """Whether the key's middle four bytes stand there more than so often: compared as numbers, from each of four
        offsets, which takes half the time of counting the key itself.
        """
        if key not in self._middles:
            return True
        found = 0
        for offset in range(min(4, max(0, len(data) - 3))):
            numbers = np.frombuffer(data, "<u4", (len(data) - offset) // 4, offset)
            found += int(np.count_nonzero(numbers == self._middles[key]))
        return found > events

    def __call__(self, data: bytes) -> bool:
        """True where both stand once at most."""
        self._asked = 0
        try:
            event = self._decode(data)
            values = [get(event) for get in self._getters]
        except (msgspec.MsgspecError, AttributeError):
            return True  # a scalar on the way of a path: whoever reads the values has to say what is wrong
        return self._asked == sum(1 for value in values if value is not None)


def _middle(key: bytes) -> bytes:
    """Four bytes of a key; names that resemble each other differ there more often than at their ends."""
    begin = (len(key) - 4) // 2
    return key[begin : begin + 4]


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

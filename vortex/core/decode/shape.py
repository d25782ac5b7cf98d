"""msgspec Structs made from the configured paths, which skip the rest of an event at C speed."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_not
from typing import Any

import msgspec

from vortex.core.decode.fields import NAMES, Paths
from vortex.core.decode.paths import Node, trie_of


class Shape:
    """Reads only the values at the paths. Refuses an event with a value of another type there.

    `getters` has for each field one getter per path; a getter raises AttributeError for a null on its way.
    `mixed`: a value at a path of the time may also be neither text nor number.
    """

    def __init__(self, paths: Paths) -> None:
        names: dict[tuple[str, ...], str] = {}
        trie = trie_of(paths)
        struct = _struct(trie, names)
        self.mixed = _is_mixed(trie)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self.getters: dict[str, list[Callable[[Any], Any]]] = {
            name: [attrgetter(names[path]) for path in paths[name]] for name in NAMES
        }


class Picker:
    """Reads the values at some paths of a valid event, as JSON, at C speed and without an object for each key."""

    def __init__(self, node: Node) -> None:
        members = [(f"f{number}", msgspec.Raw, msgspec.Raw()) for number in range(len(node))]
        rename = {f"f{number}": key for number, key in enumerate(node)}
        struct = msgspec.defstruct("Object", members, rename=rename, gc=False, frozen=True)
        self._decode: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder(struct).decode
        self._below = [
            (f"f{number}", key, bool(below.fields), Picker(below) if below else None)
            for number, (key, below) in enumerate(node.items())
        ]

    def values(self, data: bytes) -> dict[tuple[str, ...], bytes]:
        """The values at the paths, of this object."""
        found: dict[tuple[str, ...], bytes] = {}
        self._collect(data, (), found)
        return found

    def _collect(self, data: bytes | msgspec.Raw, path: tuple[str, ...], found: dict[tuple[str, ...], bytes]) -> None:
        struct = self._decode(data)
        for member, key, is_value, below in self._below:
            raw = getattr(struct, member)
            begin = bytes(memoryview(raw)[:1])
            if is_value and begin:
                found[*path, key] = bytes(raw)
            if below is not None and begin == b"{":
                below._collect(raw, (*path, key), found)


def _struct(node: Node, names: dict[tuple[str, ...], str], path: tuple[str, ...] = (), to: str = "") -> Any:
    """A Struct for the keys below the node; `names` receives the dotted attribute name of each path."""
    members: list[tuple[str, Any, Any]] = []
    rename = {}
    for number, (key, below) in enumerate(node.items()):
        member = f"f{number}"
        rename[member] = key
        names[*path, key] = to + member
        if below:
            inner = _struct(below, names, (*path, key), f"{to}{member}.")
            members.append((member, inner | None, inner()))
        else:
            members.append((member, _type(below), None))
    return msgspec.defstruct("Event", members, rename=rename, gc=False, frozen=True)


def _type(leaf: Node) -> Any:
    """The type of a value there; any type if fields disagree, and then the slow decoder decides."""
    if "time" not in leaf.fields:
        return str | int | None
    return str | int | float | None if set(leaf.fields) == {"time"} else Any


def _is_mixed(node: Node) -> bool:
    """Whether a path of the time is that of another field, too, or another path continues it."""
    return any(
        ("time" in below.fields and (bool(below) or set(below.fields) != {"time"})) or _is_mixed(below)
        for below in node.values()
    )


class _Leaf:
    """Placeholder for a value in a Struct that only counts values."""


_LEAF = _Leaf()


class Once:
    """Whether each key of the paths certainly occurs at most once in its object. If not, use the slow decoder.

    msgspec keeps the last of equal keys without an error. But it calls `dec_hook` for each value of a custom type, and
    `__post_init__` for each Struct, even if it drops them later. So more calls than values mean a repeated key.
    """

    def __init__(self, paths: Paths) -> None:
        self._leaves: list[str] = []
        self._nodes: list[str] = []
        self._absent: list[Any] = []
        self._calls = 0
        struct = self._counting(trie_of(paths), "")
        self._decode = msgspec.json.Decoder(struct, dec_hook=self._count_leaf).decode
        # attrgetter returns a tuple only for several names; the class is always equal and ensures that.
        self._get = attrgetter("__class__", *self._leaves, *self._nodes)
        self._nothing = (struct, *(None for _ in self._leaves), *self._absent)

    def __call__(self, data: bytes) -> bool:
        """True if every key is unique."""
        self._calls = 0
        try:
            event = self._decode(data)
        except msgspec.MsgspecError:
            return False
        return self._calls == sum(map(is_not, self._get(event), self._nothing))

    def _count_leaf(self, _: type, value: object) -> _Leaf:
        self._calls += 1
        return _LEAF

    def _counting(self, node: Node, to: str) -> Any:
        members: list[tuple[str, Any, Any]] = []
        rename = {}
        for number, (key, below) in enumerate(node.items()):
            member = f"f{number}"
            rename[member] = key
            if below:
                inner = self._counting(below, f"{to}{member}.")
                absent = inner()
                self._nodes.append(to + member)
                self._absent.append(absent)
                members.append((member, inner, absent))
            else:
                self._leaves.append(to + member)
                members.append((member, _Leaf, None))

        def count(_: object) -> None:
            self._calls += 1

        namespace = {"__post_init__": count} if to else None
        return msgspec.defstruct("Event", members, rename=rename, namespace=namespace, gc=False, frozen=True)

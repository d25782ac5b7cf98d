"""Structs made of the paths, which skip all the rest of an event at C speed."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_not
from typing import Any

import msgspec

from vortex.core.decode.fields import NAMES, Paths
from vortex.core.decode.paths import Node, trie_of


class Shape:
    """Reads just what stands at the paths. It refuses an event that has a value of any other type there.

    `getters` are, for each field, one a path; one raises AttributeError for a null on its way.
    """

    def __init__(self, paths: Paths) -> None:
        names: dict[tuple[str, ...], str] = {}
        struct = _struct(trie_of(paths), names)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self.getters: dict[str, list[Callable[[Any], Any]]] = {
            name: [attrgetter(names[path]) for path in paths[name]] for name in NAMES
        }


def _struct(node: Node, names: dict[tuple[str, ...], str], path: tuple[str, ...] = (), to: str = "") -> Any:
    """A Struct for the keys below the node; `names` gets what each of them is called in it, dotted."""
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
    """What may stand there; where fields disagree on that, anything, and a close look decides."""
    if "time" not in leaf.fields:
        return str | int | None
    return str | int | float | None if set(leaf.fields) == {"time"} else Any


class _Leaf:
    """Stands for a value in a Struct that only counts."""


_LEAF = _Leaf()


class Once:
    """Whether each key of the paths certainly stands once in its object, at most. Where it does not, look closely.

    The decoder takes the last of equal keys and tells nobody. But it asks for each value of a type that it does not
    know, and makes each Struct, those included that it then throws away.
    """

    def __init__(self, paths: Paths) -> None:
        self._leaves: list[str] = []
        self._nodes: list[str] = []
        self._absent: list[Any] = []
        self._met = 0
        struct = self._counting(trie_of(paths), "")
        self._decode = msgspec.json.Decoder(struct, dec_hook=self._met_leaf).decode
        # The class is always the same; with it there are several, and so a tuple.
        self._get = attrgetter("__class__", *self._leaves, *self._nodes)
        self._nothing = (struct, *(None for _ in self._leaves), *self._absent)

    def __call__(self, data: bytes) -> bool:
        """True where all do."""
        self._met = 0
        try:
            event = self._decode(data)
        except msgspec.MsgspecError:
            return False
        return self._met == sum(map(is_not, self._get(event), self._nothing))

    def _met_leaf(self, _: type, value: object) -> _Leaf:
        self._met += 1
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

        def met(_: object) -> None:
            self._met += 1

        namespace = {"__post_init__": met} if to else None
        return msgspec.defstruct("Event", members, rename=rename, namespace=namespace, gc=False, frozen=True)

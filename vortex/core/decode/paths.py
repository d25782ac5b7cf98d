"""The paths of the four fields as a tree of keys, along which an event's objects are searched."""

from __future__ import annotations

from vortex.core.decode.fields import Paths


class Node(dict[str, "Node"]):
    """The keys to look for in an object; `fields` are the fields whose paths end here."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[str] = []


def trie_of(paths: Paths) -> Node:
    """The tree of these paths."""
    root = Node()
    for name, several in paths.items():
        for path in several:
            node = root
            for part in path:
                node = node.setdefault(part, Node())
            node.fields.append(name)
    return root

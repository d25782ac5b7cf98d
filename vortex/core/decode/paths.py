"""The paths of the four fields as a tree of keys, which an event's objects are gone down by."""

from __future__ import annotations

from vortex.core.decode.fields import Paths


class Node(dict[str, "Node"]):
    """The keys that are looked for in an object; `fields` are those that a path ends here for."""

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

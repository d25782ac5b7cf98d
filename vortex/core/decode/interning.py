"""Numbers for what events are grouped by. A shard names the same few hundred things on every page, and a number is
quicker to compare, and to sort by, than texts are.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.pure import Interner

_K = TypeVar("_K")
Numbers = NDArray[np.int32]
Place = tuple[tuple[str, str], int]
"""What lines are grouped by: customer and type, and the period."""


class Names:
    """Pairs of customer and type, numbered in order of appearance."""

    def __init__(self, seed: int = 0) -> None:
        """`seed` keeps others from choosing names that collide in the table in C."""
        self.table = steps.numbers(seed)
        """For `Steps.events`, which numbers the pairs that it finds by itself."""
        self.characters = 0
        """Of all names; several copies of them are in memory."""
        self._of_table: Numbers = np.empty(0, dtype=np.int32)
        self._numbers = Interner[tuple[str, str]]()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> tuple[str, str]:
        return self._numbers.things[number]

    def number(self, pairs: Iterable[tuple[str, str]]) -> Numbers:
        """The number of each pair."""
        numbers, before = self._numbers, len(self._numbers)
        found = np.array([numbers[pair] for pair in pairs], dtype=np.int32)
        self.characters += sum(len(one) + len(two) for one, two in numbers.things[before:])
        return found

    def of_table(self, its: Numbers, new: list[tuple[str, str]]) -> Numbers:
        """Numbers of the table in C as ours; `new` are the pairs of those that it gave since the last call."""
        if new:
            self._of_table = np.concatenate((self._of_table, self.number(new)))
        return self._of_table[its]


class Groups:
    """Places, numbered in order of appearance; one may have two numbers."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.characters = 0
        """Of the names of all places."""
        self._names: weakref.ref[Names] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def number(self, names: Names, name: Numbers, period: NDArray[np.int64]) -> Numbers:
        """The number of each name in its period."""
        if self._names is None or names is not self._names():  # whose numbers mean other names
            # It may be large, and is another's.
            self._names, self._base, self._table = weakref.ref(names), len(self.places), steps.numbers(0)
        numbers, new = steps.group(self._table, np.ascontiguousarray(name), np.ascontiguousarray(period))
        found = np.frombuffer(numbers, dtype=np.int32)
        self.places += [(names[one], at) for one, at in new]
        self.characters += sum(len(names[one][0]) + len(names[one][1]) for one, _ in new)
        return found + np.int32(self._base) if self._base else found

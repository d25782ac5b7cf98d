"""Numbers for the values by which events are grouped. A shard has the same few hundred values on every page, and
numbers are faster to compare and to sort by than texts.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import steps
from vortex.core.native.pure import Interner

_K = TypeVar("_K")
Numbers = NDArray[np.int32]
Place = tuple[tuple[str, str], int]
"""The key by which lines are grouped: customer and type, and the period."""


class Names:
    """Pairs of customer and type, numbered in order of appearance."""

    def __init__(self, seed: int = 0) -> None:
        """`seed` makes it impossible to choose names that collide in the C table."""
        self.table = steps.numbers(seed)
        """For `Steps.events`, which numbers the pairs that it finds by itself."""
        self.characters = 0
        """Total characters of all names; several copies of them are in memory."""
        self._of_table: Numbers = np.empty(0, dtype=np.int32)
        self._numbers = Interner[tuple[str, str]]()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> tuple[str, str]:
        return self._numbers.things[number]

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """All pairs, in order of their numbers."""
        return self._numbers.things

    def number(self, pairs: Iterable[tuple[str, str]]) -> Numbers:
        """The number of each pair."""
        numbers, before = self._numbers, len(self._numbers)
        found = np.array([numbers[pair] for pair in pairs], dtype=np.int32)
        self.characters += sum(len(one) + len(two) for one, two in numbers.things[before:])
        return found

    def of_table(self, table_numbers: Numbers, new: list[tuple[str, str]]) -> Numbers:
        """Convert numbers of the C table to ours; `new` are the pairs that it numbered since the last call."""
        if new:
            self._of_table = np.concatenate((self._of_table, self.number(new)))
        return self._of_table[table_numbers]


class Groups:
    """Places, numbered in order of appearance. A place may have two numbers."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.characters = 0
        """Total characters of the names of all places."""
        self._names: weakref.ref[Names] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def number(self, names: Names, name: Numbers, period: NDArray[np.int64]) -> Numbers:
        """The number of each name in its period."""
        if self._names is None or names is not self._names():  # other names have other numbers
            # A weak reference: the names may be large, and belong to another object.
            self._names, self._base, self._table = weakref.ref(names), len(self.places), steps.numbers(0)
        numbers, new = steps.group(self._table, np.ascontiguousarray(name), np.ascontiguousarray(period))
        found = np.frombuffer(numbers, dtype=np.int32)
        if new:
            pairs = names.pairs
            for one, at in new:
                pair = pairs[one]
                self.places.append((pair, at))
                self.characters += len(pair[0]) + len(pair[1])
        return found + np.int32(self._base) if self._base else found

"""The report of a verification, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vortex.core.invariants import Invariant

Progress = Callable[[str, int, int], None]
"""Called with what is checked ("logs", "plans", "keys"), how many are done, and how many there are (0: not known)."""


def unseen(what: str, done: int, of: int) -> None:
    """Tell nobody how far it is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken promise: which invariant, where, and what is wrong."""

    invariant: Invariant
    key: str
    what: str


@dataclass(slots=True)
class Report:
    """The faults found, and how much was checked."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    def fault(self, invariant: Invariant, key: str, what: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(invariant, key, what))

    def count(self, what: str, number: int = 1) -> None:
        """Count what was checked."""
        self.checked[what] = self.checked.get(what, 0) + number

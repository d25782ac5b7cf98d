"""Work that gives way: a generator that yields where its driver may do something else first, and returns its answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Each step is small enough that nobody notices it: some ten milliseconds."""


def at_once(steps: Steps[T]) -> T:
    """The answer, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: T = end.value
            return answer

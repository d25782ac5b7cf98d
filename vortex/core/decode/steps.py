"""Work in steps: a generator that yields where its driver may do other work first, and returns its result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A step takes at most some ten milliseconds."""


def at_once(steps: Steps[T]) -> T:
    """Run all steps without pauses and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: T = end.value
            return answer

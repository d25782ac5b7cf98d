"""Progress of a long search, for a user who waits for it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what is done."""

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """`done` of `total` (None: unknown) of `what` are done."""
        ...


def silent(what: str, done: int, total: int | None = None) -> None:
    """Tells nobody."""

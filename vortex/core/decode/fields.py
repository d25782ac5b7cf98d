"""The fields that Vortex reads of an event, where it keeps them, and what else the settings say of an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMES = ("customer", "type", "id", "time")
Paths = dict[str, list[tuple[str, ...]]]
"""For each of NAMES the paths to look along, first present wins."""
UNBOUNDED = 2**62


@dataclass(frozen=True, slots=True)
class Fields:
    """Where an event keeps what Vortex needs: for each field its paths, first present wins.

    `max_bytes` is the most that its line may have, line break excluded; `time_format` are patterns (`timeformats`).
    """

    customer: tuple[str, ...]
    type: tuple[str, ...]
    id: tuple[str, ...]
    time: tuple[str, ...]
    missing_id: Literal["hash", "reject"] = "hash"
    lone_surrogates: Literal["keep", "reject"] = "keep"
    max_bytes: int = UNBOUNDED
    time_format: tuple[str, ...] = ()


def paths_of(fields: Fields) -> Paths:
    """The paths, taken apart. Raises ValueError for one with an empty part."""
    paths = {name: [tuple(p.split(".")) for p in getattr(fields, name)] for name in NAMES}
    for name, several in paths.items():
        if not several or any(not part for path in several for part in path):
            raise ValueError(f"event.{name}: {list(getattr(fields, name))} is no dotted path")
    return paths

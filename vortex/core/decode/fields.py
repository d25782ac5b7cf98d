"""The fields of an event that Vortex reads, their paths, and the other settings about events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMES = ("customer", "type", "id", "time")
Paths = dict[str, list[tuple[str, ...]]]
"""For each of NAMES the paths to search; the first present value is used."""
UNBOUNDED = 2**62


@dataclass(frozen=True, slots=True)
class Fields:
    """The settings about events: for each field its paths; the first present value is used.

    `max_bytes` is the maximum size of an event's line, without line break; `time_format` are patterns (`time_formats`).
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
    """The paths, split into parts. Raises ValueError for a path with an empty part."""
    paths = {name: [tuple(p.split(".")) for p in getattr(fields, name)] for name in NAMES}
    for name, several in paths.items():
        if not several or any(not part for path in several for part in path):
            raise ValueError(f"event.{name}: {list(getattr(fields, name))} is not a dotted path")
    return paths

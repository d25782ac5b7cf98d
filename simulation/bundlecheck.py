"""A model of bundles, which reads them member by member and knows nothing of how they are made."""

from __future__ import annotations

import zlib
from typing import Any

from simulation.logchecks import Violated
from vortex.core.compression import zstd
from vortex.core.invariants import Invariant


def members(key: str, body: bytes) -> dict[int, tuple[int, list[bytes]]]:
    """By offset, the length and the lines of each gzip member or Zstandard frame."""
    found, at = {}, 0
    while at < len(body):
        one: Any = zstd.ZstdDecompressor() if key.endswith(".zst") else zlib.decompressobj(31)
        text, end = one.decompress(body[at:]), len(body) - len(one.unused_data)
        found[at] = end - at, text.split(b"\n")[:-1]
        at = end
    return found


class BundleModel:
    """Bundles as they are written, and who claims their members."""

    def __init__(self, violated: Violated) -> None:
        self._violated = violated
        self._members: dict[str, dict[int, tuple[int, list[bytes]]]] = {}
        self._lines: dict[str, list[bytes]] = {}
        """By folder and period, what the documents say that bundles have of it."""
        self._claims: dict[tuple[str, int], str] = {}

    @property
    def number(self) -> int:
        """How many bundles there are."""
        return len(self._members)

    def written(self, key: str, body: bytes) -> None:
        """A bundle was written."""
        self._members[key] = members(key, body)

    def claimed(self, name: str, key: str, at: int, size: int, stem: str) -> None:
        """A document says that these bytes of a bundle are the lines of a folder and period."""
        length, lines = self._members.get(key, {}).get(at, (-1, []))
        if length != size:
            self._violated(Invariant.WRITTEN_ONCE, f"{name}: {key} has no member of {size} bytes at {at}")
            return
        if self._claims.setdefault((key, at), stem) != stem or self._lines.setdefault(stem, lines) is not lines:
            self._violated(Invariant.COMPLETE_AND_ONCE, f"{name}: the member at {at} of {key} is named twice")

    def lines(self, stem: str) -> list[bytes] | None:
        """The lines of a folder and period in a bundle; None if none is known."""
        return self._lines.get(stem)

    def unclaimed(self, prefix: str) -> list[tuple[str, int]]:
        """The members of bundles whose key begins so that no document names."""
        return [
            (key, at)
            for key, its in self._members.items()
            if key.startswith(prefix)
            for at in its
            if (key, at) not in self._claims
        ]

    def endings(self, prefix: str) -> set[str]:
        """How the names of these bundles end."""
        return {key[key.index(".json.") :] for key in self._members if key.startswith(prefix)}

"""How much memory this process may use: by the limits of its containers (cgroups), and by the machine.

https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max, memory.high),
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.limit_in_bytes).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vortex.adapters.cgroups import folders, text

_V1 = ("sys/fs/cgroup/memory",)
_SHARE = 3, 4
"""The part of a machine's memory that is for this process; the rest is for the system and other programs."""


def usable_bytes(root: Path = Path("/"), machine: int | None = None) -> int:
    """Bytes that this process may use: the least limit of its cgroups, and at most three quarters of the machine.

    `machine`: the bytes of the machine; None: ask the system.
    """
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if machine is None else machine
    return min([usable_of(whole), *_limits(root)])


def usable_of(machine: int) -> int:
    """Bytes that this process may use of a machine with so many."""
    return machine * _SHARE[0] // _SHARE[1]


def _limits(root: Path) -> Iterator[int]:
    """Every limit of this process's cgroup and of the parent cgroups. Above memory.high the kernel slows it down."""
    for new, folder in folders(root, "memory", _V1):
        for name in ("memory.max", "memory.high") if new else ("memory.limit_in_bytes",):
            if (found := text(folder / name).strip()).isdecimal() and int(found):
                yield int(found)

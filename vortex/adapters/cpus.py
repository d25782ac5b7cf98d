"""How many CPUs this process may use: by CPU affinity, and by the CPU quota of its containers (cgroups).

https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max), https://docs.kernel.org/scheduler/sched-bwc.html (v1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from vortex.adapters.cgroups import folders, text

_V1 = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")


def usable(root: Path = Path("/")) -> int:
    """The number of CPUs, at least 1. A quota is rounded up: 1.5 CPUs keep two workers busy most of the time."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affine, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Every quota that limits this process, in CPUs: that of its own cgroup and those of the parent cgroups."""
    for new, folder in folders(root, "cpu", _V1):
        words = text(folder / "cpu.max").split() if new else _old(folder)
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[0]) and int(words[1]):
            yield int(words[0]) / int(words[1])


def _old(folder: Path) -> list[str]:
    """CPU quota (-1: no limit) and period of a cgroup v1 folder, in microseconds."""
    return [text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]

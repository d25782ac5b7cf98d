"""How many CPUs this process may use: by CPU affinity, and by the CPU quota of its containers (cgroups).

https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max), https://docs.kernel.org/scheduler/sched-bwc.html (v1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_V1 = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")
_V2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")


def usable(root: Path = Path("/")) -> int:
    """The number of CPUs, at least 1. A quota is rounded up: 1.5 CPUs keep two workers busy most of the time."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affine, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Every quota that limits this process, in CPUs: that of its own cgroup and those of the parent cgroups."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for mount in _V2 if not controllers else _V1 if "cpu" in controllers.split(",") else ():
            for folder in _upwards(root / mount, path):
                # A container sees its own cgroup as the mount point, so folders of the path may not exist there.
                words = _text(folder / "cpu.max").split() if not controllers else _old(folder)
                if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[0]) and int(words[1]):
                    yield int(words[0]) / int(words[1])


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # outside of this process's cgroup namespace
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _old(folder: Path) -> list[str]:
    """CPU quota (-1: no limit) and period of a cgroup v1 folder, in microseconds."""
    return [_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""

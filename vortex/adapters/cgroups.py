"""The control groups (cgroups) that limit this process: its own one, and the parents of that.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_V2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")


def folders(root: Path, controller: str, v1_mounts: tuple[str, ...]) -> Iterator[tuple[bool, Path]]:
    """Each folder that may limit this process by this controller, and whether it is one of version 2.

    `root` is the root of the file system. A container sees its own group as the mount point, so folders of the path may
    not exist there.
    """
    for line in text(root / "proc/self/cgroup").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for mount in _V2 if not controllers else v1_mounts if controller in controllers.split(",") else ():
            for folder in _upwards(root / mount, path):
                yield not controllers, folder


def text(path: Path) -> str:
    """The text of a file; nothing if it cannot be read. Names of groups may be any bytes, as names of files."""
    try:
        return os.fsdecode(path.read_bytes())
    except (OSError, ValueError):  # the name of a group has a zero byte
        return ""


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # outside of this process's cgroup namespace
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])

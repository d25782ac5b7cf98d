"""The number of workers for `--processes auto`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vortex.adapters.cpus import usable

V1, V2 = "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n", "0::/docker/abc\n"
OWN, OUTER, MOUNT = "sys/fs/cgroup/docker/abc", "sys/fs/cgroup/docker", "sys/fs/cgroup"


def quota(folder: str, text: str, period: str = "100000") -> dict[str, str]:
    """The files of a v1 quota."""
    return {f"{folder}/cpu.cfs_quota_us": text, f"{folder}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("groups", "files", "number"),
    [
        ("", {}, 8),
        (V2, {}, 8),
        (V2, {f"{OWN}/cpu.max": "max 100000\n"}, 8),
        (V2, {f"{OWN}/cpu.max": "200000 100000\n"}, 2),
        (V2, {f"{OWN}/cpu.max": "150000 100000\n"}, 2),
        (V2, {f"{OWN}/cpu.max": "50000 100000\n"}, 1),
        (V2, {f"{OWN}/cpu.max": "1000 100000\n"}, 1),
        (V2, {f"{OWN}/cpu.max": "25000 10000\n"}, 3),
        (V2, {f"{OWN}/cpu.max": "1600000 100000\n"}, 8),
        (V2, {f"{OWN}/cpu.max": "max 100000\n", f"{OUTER}/cpu.max": "300000 100000\n"}, 3),
        (V2, {f"{OWN}/cpu.max": "400000 100000\n", f"{OUTER}/cpu.max": "300000 100000\n"}, 3),
        (V2, {f"{MOUNT}/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {f"{MOUNT}/cpu.max": "200000 100000\n"}, 2),
        ("0::/../../other\n", {f"{MOUNT}/cpu.max": "200000 100000\n"}, 2),
        (V2, {f"{OWN}/cpu.max": "\n"}, 8),
        (V2, {f"{OWN}/cpu.max": "0 100000\n"}, 8),
        (V2, {f"{OWN}/cpu.max": "nonsense here\n"}, 8),
        ("nonsense\n\xe9", {}, 8),
        (V1, quota(f"{MOUNT}/cpu,cpuacct/docker/abc", "250000"), 3),
        (V1, quota(f"{MOUNT}/cpu/docker/abc", "250000"), 3),
        (V1, quota(f"{MOUNT}/cpu", "150000"), 2),
        (V1, quota(f"{MOUNT}/cpu/docker/abc", "-1"), 8),
        (V1, quota(f"{MOUNT}/cpu/docker/abc", "-1") | quota(f"{MOUNT}/cpu/docker", "100000", "50000"), 2),
        (V1, quota(f"{MOUNT}/memory/docker/abc", "100000"), 8),
        (V1 + "0::/\n", quota(f"{MOUNT}/cpu/docker/abc", "400000") | {f"{MOUNT}/unified/cpu.max": "max 100000"}, 4),
    ],
)
def test_usable_is_limited_by_the_least_cgroup_quota(
    groups: str, files: dict[str, str], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the group itself and its ancestors; a fraction counts as one. The affinity has 8 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "latin-1")
    assert usable(tmp_path) == number


def test_usable_is_limited_by_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine it is at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert usable(tmp_path) == 1
    monkeypatch.undo()
    assert usable() >= 1

"""The memory that `memory.limit = "auto"` goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.adapters.usable_memory import usable_bytes

MIB = 2**20
V1, V2 = "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n", "0::/docker/abc\n"
OWN, OUTER, MOUNT = "sys/fs/cgroup/docker/abc", "sys/fs/cgroup/docker", "sys/fs/cgroup"
OLD = "sys/fs/cgroup/memory"
FREE = "9223372036854771712\n"
"""A cgroup of version 1 without a limit."""


@pytest.mark.parametrize(
    ("groups", "files", "mebibytes"),
    [
        ("", {}, 6144),
        (V2, {}, 6144),
        (V2, {f"{OWN}/memory.max": "max\n"}, 6144),
        (V2, {f"{OWN}/memory.max": f"{512 * MIB}\n"}, 512),
        (V2, {f"{OWN}/memory.max": f"{7000 * MIB}\n"}, 6144),
        (V2, {f"{OWN}/memory.max": f"{512 * MIB}\n", f"{OWN}/memory.high": f"{400 * MIB}\n"}, 400),
        (V2, {f"{OWN}/memory.max": f"{512 * MIB}\n", f"{OWN}/memory.high": "max\n"}, 512),
        (V2, {f"{OWN}/memory.max": "max\n", f"{OUTER}/memory.max": f"{300 * MIB}\n"}, 300),
        (V2, {f"{OWN}/memory.max": f"{400 * MIB}\n", f"{OUTER}/memory.max": f"{300 * MIB}\n"}, 300),
        (V2, {f"{MOUNT}/memory.max": f"{200 * MIB}\n"}, 200),
        ("0::/\n", {f"{MOUNT}/memory.max": f"{200 * MIB}\n"}, 200),
        ("0::/../../other\n", {f"{MOUNT}/memory.max": f"{200 * MIB}\n"}, 200),
        (V2, {f"{OWN}/memory.max": "0\n"}, 6144),
        (V2, {f"{OWN}/memory.max": "-1\n"}, 6144),
        (V2, {f"{OWN}/memory.max": "nonsense\n"}, 6144),
        ("nonsense\n\xe9", {}, 6144),
        (V1, {f"{OLD}/docker/abc/memory.limit_in_bytes": f"{250 * MIB}\n"}, 250),
        (V1, {f"{OLD}/docker/abc/memory.limit_in_bytes": FREE}, 6144),
        (
            V1,
            {
                f"{OLD}/docker/abc/memory.limit_in_bytes": FREE,
                f"{OLD}/docker/memory.limit_in_bytes": f"{100 * MIB}\n",
            },
            100,
        ),
        (V1, {f"{OLD}/memory.limit_in_bytes": f"{150 * MIB}\n"}, 150),
        (V1, {f"{MOUNT}/cpu/docker/abc/memory.limit_in_bytes": f"{1 * MIB}\n"}, 6144),
        (
            V1 + "0::/\n",
            {
                f"{OLD}/docker/abc/memory.limit_in_bytes": f"{250 * MIB}\n",
                f"{MOUNT}/unified/memory.max": f"{240 * MIB}\n",
            },
            240,
        ),
    ],
)
def test_usable_memory_is_the_least_limit_of_the_cgroups_and_three_quarters_of_the_machine(
    groups: str, files: dict[str, str], mebibytes: int, tmp_path: Path
) -> None:
    """Of the group itself and its ancestors. The machine has 8 GiB."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "latin-1")
    assert usable_bytes(tmp_path, 8192 * MIB) == mebibytes * MIB


def test_usable_memory_of_this_machine_is_known() -> None:
    assert 64 * MIB < usable_bytes() < 2**50

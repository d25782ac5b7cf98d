"""Control groups: folders of any name, of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vortex.adapters.cgroups import folders, text
from vortex.adapters.cpus import usable
from vortex.adapters.usable_memory import usable_bytes

NAMES = [
    b"user.slice",
    "gr\u00fcn".encode(),
    b"gr\xfcn",
    b"a:b",
    b"\xff\xfe",
    b"a\xc2\x85b",
    "a\u2028b".encode(),
    b"a\x0bb",
    b"a\rb",
]


def machine(root: Path, line: bytes, folder: bytes, files: dict[str, str]) -> None:
    """A file system with this line of /proc/self/cgroup, and files in a folder below the mount."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(line)
    place = root / os.fsdecode(folder)
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_text(content)


@pytest.mark.parametrize("name", NAMES)
def test_folders_have_the_names_of_groups_whatever_their_bytes(name: bytes, tmp_path: Path) -> None:
    """A name outside ASCII once hid every limit. Not all that ends a line of text ends one of the kernel's."""
    machine(tmp_path, b"0::/" + name + b"/pod\n", b"sys/fs/cgroup/" + name + b"/pod", {"cpu.max": "200000 100000\n"})
    found = [os.fsencode(path.relative_to(tmp_path)) for new, path in folders(tmp_path, "cpu", ()) if new]
    assert found[:3] == [b"sys/fs/cgroup/" + name + b"/pod", b"sys/fs/cgroup/" + name, b"sys/fs/cgroup"]
    assert text(tmp_path / os.fsdecode(found[0]) / "cpu.max") == "200000 100000\n"


def test_limits_of_a_group_hold_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    files = {"cpu.max": "200000 100000\n", "memory.max": str(2**28)}
    machine(tmp_path, b"0::/gr\xfcn\n", b"sys/fs/cgroup/gr\xfcn", files)
    assert usable(tmp_path) == 2
    assert usable_bytes(tmp_path, 2**33) == 2**28


@pytest.mark.parametrize("content", [b"", b"\xff", b"0", b"0::/a\0b\n"])
def test_folders_are_none_or_the_mount_for_lines_that_name_no_group(content: bytes, tmp_path: Path) -> None:
    machine(tmp_path, content, b"sys/fs/cgroup", {})
    assert all(text(path / "cpu.max") == "" for _, path in folders(tmp_path, "cpu", ("sys/fs/cgroup/cpu",)))
    assert text(tmp_path / "nowhere") == ""

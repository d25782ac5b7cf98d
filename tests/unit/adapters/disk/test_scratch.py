"""Scratch files on disk: without a name, and nothing of them stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vortex.adapters.disk.scratch import TemporaryScratch
from vortex.ports import NoRoom


def test_scratch_file_returns_what_was_written_and_leaves_no_name(tmp_path: Path) -> None:
    file = TemporaryScratch(100, str(tmp_path)).open()
    file.write(5, b"later")
    file.write(0, b"first")
    assert (file.read(0, 10), file.read(5, 5), file.read(8, 100)) == (b"firstlater", b"later", b"er")
    assert list(tmp_path.iterdir()) == []
    file.close()
    with pytest.raises(NoRoom, match="closed"):
        file.read(0, 1)
    with pytest.raises(NoRoom, match="closed"):
        file.write(0, b"x")


def test_scratch_file_has_no_room_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = TemporaryScratch(100, str(tmp_path)).open()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoRoom, match=r"publish\.scratch.*No space left"):
        file.write(0, b"x")
    file.close()


def test_scratch_has_no_room_when_the_folder_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="TMPDIR"):
        TemporaryScratch(100, str(tmp_path / "nowhere")).open()

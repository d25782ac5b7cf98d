"""The store in a directory: errors of the disk, and what they mean to the caller."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest

from vortex.adapters.disk.store import LocalDirStore
from vortex.commands.probes import StoreProbe
from vortex.ports import Denied, NotFound, PortError, Unavailable


async def test_put_is_unavailable_and_leaves_no_file_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes are put again later; no partial file is ever visible."""
    store = LocalDirStore(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="the disk is full") as caught:
        await store.put_if_absent("a/b", b"x" * 100)
    assert caught.value.cause == "disk_full"
    monkeypatch.undo()
    assert [info async for info in store.list("")] == []
    assert list((tmp_path / "a").iterdir()) == []
    assert await store.put_if_absent("a/b", b"y")


async def test_list_leaves_out_the_lost_and_found_folder_of_the_file_system(tmp_path: Path) -> None:
    """At the root of a mount it is there, and only root may read it: `vortex verify` used to fail."""
    store = LocalDirStore(tmp_path)
    for folder in ("lost+found", "a/lost+found"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x").touch()
    assert [info.key async for info in store.list("")] == ["a/lost+found/x"]
    assert [name async for name in store.list_folders("")] == ["a"]


async def test_put_is_denied_with_a_remedy_when_the_folder_is_not_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "folder")

    monkeypatch.setattr(os, "link", forbidden)
    with pytest.raises(Denied, match="check owner and permissions"):
        await LocalDirStore(tmp_path).put_if_absent("a", b"x")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
async def test_put_uses_an_exclusive_rename_when_the_disk_has_no_hard_links(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename replaces nothing. One of several racing writers wins, and no partial file is left."""

    def no_links(*_: object) -> None:
        raise OSError(number, os.strerror(number), "a", None, "b")

    monkeypatch.setattr(os, "link", no_links)
    stores = [LocalDirStore(tmp_path) for _ in range(4)]
    bodies = [b"%d" % number * 1000 for number in range(20)]
    won = await asyncio.gather(*(stores[n % 4].put_if_absent("a/raced", body) for n, body in enumerate(bodies)))
    assert won.count(True) == 1
    assert await stores[0].get("a/raced") == bodies[won.index(True)]
    assert not await stores[0].put_if_absent("a/raced", b"again")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["raced"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
async def test_put_is_denied_when_the_disk_has_neither_hard_links_nor_an_exclusive_rename(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is missing and what to do; it does not blame the owner."""

    def cannot(*_: object) -> None:
        raise OSError(number, os.strerror(number), "a")

    monkeypatch.setattr(os, "link", lambda *_: cannot() if number != errno.EINVAL else no_links())
    monkeypatch.setattr("vortex.adapters.disk.store.rename_exclusively", cannot)

    def no_links() -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    store = LocalDirStore(tmp_path / "store")
    with pytest.raises(
        Denied, match=r"has neither hard links nor rename without .* Put the store on another file system"
    ) as caught:
        await store.put_if_absent("a", b"x")
    assert "owner" not in str(caught.value)
    assert list((tmp_path / "store").iterdir()) == []
    failures = {line.what: line.detail for line in [one async for one in StoreProbe(store).lines()] if not line.ok}
    assert "neither hard links nor rename without" in failures["store put"]


@pytest.mark.parametrize(
    ("number", "meaning", "message"),
    [
        (errno.EROFS, Denied, "mounted read-only"),
        (errno.EACCES, Denied, "check owner and permissions"),
        (errno.ENAMETOOLONG, Denied, "name is too long"),
        (errno.ELOOP, Denied, "loop of symbolic links"),
        (errno.EDQUOT, Unavailable, "the disk is full"),
        (errno.EIO, Unavailable, "Input/output error"),
        (errno.ESTALE, Unavailable, "Stale file handle"),
        (errno.EMFILE, Unavailable, "Too many open files"),
        (errno.ENOENT, Unavailable, "No such file or directory: folder"),
    ],
)
async def test_put_raises_the_port_error_of_the_disk_error(
    number: int, meaning: type[PortError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permanent errors are denied, all others are retried."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "folder")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(meaning, match=message) as caught:
        await LocalDirStore(tmp_path).put_if_absent("a", b"x")
    assert type(caught.value) is meaning


@pytest.mark.parametrize("key", ["file/a", "file/a/b", "folder/file/a"])
async def test_put_is_denied_when_a_file_is_where_a_folder_is_needed(key: str, tmp_path: Path) -> None:
    """The file is named. Keys below it do not exist."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder/file").write_text("x")
    with pytest.raises(Denied, match=f"a file is where a folder is needed: {tmp_path}/.*file.*; see store.url"):
        await LocalDirStore(tmp_path).put_if_absent(key, b"x")
    with pytest.raises(NotFound):
        await LocalDirStore(tmp_path).get(key)
    with pytest.raises(Denied, match="a file is where a folder is needed"):
        await LocalDirStore(tmp_path / "file").put_if_absent("a", b"x")


@pytest.mark.parametrize("below", ["", "below", "below/more"])
async def test_listing_is_denied_when_the_root_is_a_file_or_below_one(below: str, tmp_path: Path) -> None:
    """Such a store used to be empty. A key that is a file has nothing below it."""
    (tmp_path / "file").write_text("x")
    store, message = LocalDirStore(tmp_path / "file" / below), f"needed: {tmp_path}/file; see store.url"
    with pytest.raises(Denied, match=message):
        _ = [info async for info in store.list("")]
    with pytest.raises(Denied, match=message):
        _ = [name async for name in store.list_folders("a/")]
    assert [name async for name in LocalDirStore(tmp_path).list_folders("file/")] == []


async def test_put_succeeds_when_folders_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have nothing to sync there."""
    sync = os.fsync

    def files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    assert await LocalDirStore(tmp_path / "s").put_if_absent("a/b", b"x")


async def test_list_omits_temporary_files_of_a_crash(tmp_path: Path) -> None:
    store = LocalDirStore(tmp_path)
    await store.put_if_absent("a/b", b"x")
    (tmp_path / "a" / ".tmp-0123").write_bytes(b"half")
    assert [info.key async for info in store.list("")] == ["a/b"]


async def test_folder_may_have_the_name_of_a_temporary_file(tmp_path: Path) -> None:
    """With `{customer}` as a whole path segment a producer names it."""
    store = LocalDirStore(tmp_path)
    await store.put_if_absent("a/.tmp-b/c", b"x")
    assert [info.key async for info in store.list("")] == ["a/.tmp-b/c"]
    assert [name async for name in store.list_folders("a/")] == [".tmp-b"]
    assert await store.get("a/.tmp-b/c") == b"x"


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/.", "a\0b", "a/.tmp-x"])
async def test_put_raises_value_error_when_a_key_leaves_the_root(tmp_path: Path, key: str) -> None:
    """Such a key is a bug of the caller."""
    with pytest.raises(ValueError, match="not a valid key"):
        await LocalDirStore(tmp_path / "root").put_if_absent(key, b"x")


async def test_get_range_takes_no_memory_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    """A damaged segment may ask for anything."""
    store = LocalDirStore(tmp_path)
    await store.put_if_absent("a", b"0123456789")
    assert await store.get_range("a", 4, 10**15) == b"456789"
    assert await store.get_range("a", 40, 10**15) == b""


async def test_delete_removes_the_other_keys_when_one_is_a_folder(tmp_path: Path) -> None:
    store = LocalDirStore(tmp_path)
    await store.put_if_absent("a/b", b"")
    await store.put_if_absent("c", b"")
    await store.delete(["a", "c"])
    assert [info.key async for info in store.list("")] == ["a/b"]

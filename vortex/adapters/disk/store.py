"""An object store in a local directory, with the same guarantees as S3.

A file is written next to its target, fsynced, and linked to its name (`link(2)` fails if the name exists: this is
put-if-absent). Then its folder is fsynced. A reader sees a whole file or none. On a file system without hard links
(vfat, some FUSE) the file is renamed without replacing. A file system that can do neither is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from vortex.adapters.disk.rename import rename_exclusively
from vortex.core.model import ObjectInfo
from vortex.ports import Denied, NotFound, PortError, Unavailable

T = TypeVar("T")

_TEMPORARY = ".tmp-"
_LOST = "lost+found"
"""A folder of ext file systems at the root of a mount, which only root may read. No key begins with it."""
_UNFIT = (
    "neither hard links nor rename without replacing, so two writers could overwrite each other. Put the store on "
    "another file system (ext4, xfs, btrfs, NFS), or into S3"
)
_BATCH = 1000
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of link(2) where hard links are not supported. The file is our own and new, so EPERM means that too."""
_NO_RENAME = _NO_LINKS | {errno.EINVAL}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP}
_FOREVER = {
    errno.EROFS: "the file system is mounted read-only",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.ENOTDIR: "a file is where a folder is needed",
    errno.EEXIST: "a file is where a folder is needed",
    errno.ELOOP: "there is a loop of symbolic links",
}


class LocalDirStore:
    """ObjectStore below `root`, which is created if missing. Temporary files left by a crash are never listed."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._links = True
        """Whether this file system has hard links; False after the first failure."""

    @property
    def url(self) -> str:
        """`file:///…`, without a trailing slash."""
        return self._root.as_uri()

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port; `content_type` is not stored."""
        return await self._call(key, self._put, key, body, putting=True)

    async def get(self, key: str) -> bytes:
        """See the port."""
        return await self._call(key, self._path(key).read_bytes)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""

        def read() -> bytes:
            with self._path(key).open("rb") as file:
                # pread takes memory for all that it is asked for, and a damaged segment may ask for anything.
                return os.pread(file.fileno(), min(length, os.fstat(file.fileno()).st_size), offset)

        return await self._call(key, read)

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""

        def read() -> tuple[bytes, int]:
            with self._path(key).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                return os.pread(file.fileno(), length, max(0, size - length)), size

        return await self._call(key, read)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port; skips folders that cannot contain such a key."""
        walk = self._walk("", prefix, start_after)

        def take() -> Sequence[ObjectInfo]:
            return tuple(islice(walk, _BATCH))

        while batch := await self._call(prefix, take):
            for info in batch:
                yield info

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        for name in await self._call(prefix, lambda: sorted(n for n, folder in self._entries(prefix) if folder)):
            yield name

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port. Folders stay."""

        def remove() -> None:
            for key in keys:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    self._path(key).unlink()

        await self._call("delete", remove)

    # Blocking calls, run in threads.

    async def _call(self, key: str, fn: Callable[..., T], *args: object, putting: bool = False) -> T:
        try:
            return await asyncio.to_thread(fn, *args)
        except OSError as error:
            raise _meaning(error, key, putting=putting) from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or parts[-1].startswith(_TEMPORARY):
            raise ValueError(f"{key!r} is not a valid key of a local store")
        return self._root.joinpath(*parts)

    def _put(self, key: str, body: bytes) -> bool:
        target = self._path(key)
        if target.exists():
            return False
        self._make_folder(target.parent)
        temporary = target.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            try:
                self._name(temporary, target)
            except FileExistsError:
                return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return True

    def _name(self, temporary: Path, target: Path) -> None:
        """Give a written file its final name. Raises FileExistsError if the name exists."""
        if self._links:
            try:
                os.link(temporary, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._links = False
            else:
                return
        try:
            rename_exclusively(temporary, target)
        except OSError as error:
            if error.errno in _NO_RENAME:
                raise _Unfit(error.errno, f"the file system of {self._root} has {_UNFIT}") from error
            raise

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and its parents, and fsync each parent: else a crash could lose the whole branch."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make_folder(folder.parent)
        else:
            folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def _entries(self, prefix: str) -> Sequence[tuple[str, bool]]:
        """(name, is a folder) of each entry of the folder `prefix` but foreign ones; [] if it does not exist."""
        folder = self._root / prefix if prefix else self._root
        try:
            with os.scandir(folder) as found:
                entries = [(e.name, e.is_dir()) for e in found]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            self._refuse_file()  # of the root; a file below it has no entries
            return []
        # A customer's folder may have the name of a temporary file, its files never have.
        ours = [(name, folder) for name, folder in entries if folder or not name.startswith(_TEMPORARY)]
        return ours if prefix else [entry for entry in ours if entry[0] != _LOST]

    def _refuse_file(self) -> None:
        """Raises FileExistsError if the root, or a folder above it, is a file: such a store is not empty, but wrong."""
        for path in (self._root, *self._root.parents):
            if path.is_file():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """Keys in byte order: a folder sorts as its name plus a slash (`a-b` comes before `a/c`)."""
        names = [(name + "/" if is_folder else name, is_folder) for name, is_folder in self._entries(folder)]
        for name, is_folder in sorted(names, key=lambda entry: entry[0].encode("utf-8", "surrogateescape")):
            key = folder + name
            if is_folder:
                below = key.startswith(prefix) or prefix.startswith(key)
                if below and (key >= start_after or start_after.startswith(key)):
                    yield from self._walk(key, prefix, start_after)
            elif key.startswith(prefix) and key > start_after:
                try:
                    found = (self._root / key).stat()
                except FileNotFoundError:
                    continue  # deleted since the folder was read
                yield ObjectInfo(key, found.st_size, found.st_mtime_ns // 1_000_000)


class _Unfit(OSError):
    """This file system cannot hold a store."""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:  # some file systems write names at once and need no fsync
            raise
    finally:
        os.close(descriptor)


def _meaning(error: OSError, key: str, *, putting: bool) -> PortError:
    if isinstance(error, _Unfit):
        return Denied(f"{key}: {error.strerror}")
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) and not putting:
        return NotFound(f"{key}: no such file")
    if error.errno in _FOREVER:
        return Denied(f"{key}: {_FOREVER[error.errno]}: {error.filename}; see store.url")
    if error.errno in _FULL:
        return Unavailable(f"{key}: the disk is full; free some space; nothing is lost", "disk_full")
    if error.errno in _FORBIDDEN:
        return Denied(f"{key}: {error.strerror}: {error.filename}; check owner and permissions of the store's folder")
    return Unavailable(f"{key}: {error.strerror}: {error.filename}; see store.url", "disk")

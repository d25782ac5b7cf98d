"""A temporary file without a name, as room for copies: the system removes it when it is closed, and when the process
dies.
"""

from __future__ import annotations

import os
import tempfile
import threading

from vortex.ports import NoRoom


class TemporaryScratch:
    """Makes files of at most `limit` bytes in a folder; by default in the system's folder for temporary files."""

    def __init__(self, limit: int, folder: str | None = None) -> None:
        self.limit = limit
        self._folder = folder

    def open(self) -> TemporaryFile:
        """See the port."""
        try:
            return TemporaryFile(self._folder)
        except OSError as problem:
            raise NoRoom(_message(self._folder, problem)) from None


class TemporaryFile:
    """One file. Threads may call it at the same time; after `close` it refuses everything."""

    def __init__(self, folder: str | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="vortex-", buffering=0)  # noqa: SIM115
        self._folder = folder
        self._lock = threading.Lock()

    def write(self, at: int, data: bytes) -> None:
        """See the port."""
        view = memoryview(data)
        with self._lock:
            try:
                while view:
                    written = os.pwrite(self._descriptor(), view, at)
                    view, at = view[written:], at + written
            except OSError as problem:
                raise NoRoom(_message(self._folder, problem)) from None

    def read(self, at: int, length: int) -> bytes:
        """See the port."""
        parts = []
        with self._lock:
            try:
                while length and (part := os.pread(self._descriptor(), length, at)):
                    parts.append(part)
                    at, length = at + len(part), length - len(part)
            except OSError as problem:
                raise NoRoom(_message(self._folder, problem)) from None
        return b"".join(parts)

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._file.close()

    def _descriptor(self) -> int:
        if self._file.closed:  # its number may be another file's by now
            raise NoRoom("the temporary file is closed")
        return self._file.fileno()


def _message(folder: str | None, problem: OSError) -> str:
    return f"no temporary file in {folder or tempfile.gettempdir()} (TMPDIR, publish.scratch): {problem}"

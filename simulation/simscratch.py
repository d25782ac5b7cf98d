"""Scratch files in memory, of a few bytes, which a test can make refuse calls, or fill up."""

from __future__ import annotations

from collections.abc import Callable

from vortex.ports import NoRoom


class SimScratch:
    """The Scratch port. `fails` says whether a call fails, `full` whether the disk takes no more bytes now.

    On a full disk an empty file can still be made, and what was written can be read.
    """

    def __init__(
        self, limit: int, fails: Callable[[], bool] = lambda: False, full: Callable[[], bool] = lambda: False
    ) -> None:
        self.limit = limit
        self._fails, self._full = fails, full

    def open(self) -> SimScratchFile:
        """See the port."""
        self.check()
        return SimScratchFile(self)

    def check(self) -> None:
        """Raises NoRoom if this call fails."""
        if self._fails():
            raise NoRoom("the disk fails")

    def check_room(self) -> None:
        """Raises NoRoom if the disk is full."""
        if self._full():
            raise NoRoom("the disk is full")


class SimScratchFile:
    """The ScratchFile port."""

    def __init__(self, scratch: SimScratch) -> None:
        self._scratch = scratch
        self._bytes = bytearray()
        self.closed = False

    def write(self, at: int, data: bytes) -> None:
        """See the port."""
        assert not self.closed, "nothing is written after the end"
        self._scratch.check()
        self._scratch.check_room()
        if at + len(data) > self._scratch.limit:
            raise NoRoom(f"more than {self._scratch.limit} bytes")
        self._bytes.extend(bytes(max(0, at + len(data) - len(self._bytes))))
        self._bytes[at : at + len(data)] = data

    def read(self, at: int, length: int) -> bytes:
        """See the port."""
        assert not self.closed, "nothing is read after the end"
        self._scratch.check()
        return bytes(self._bytes[at : at + length])

    def close(self) -> None:
        """See the port."""
        self.closed = True

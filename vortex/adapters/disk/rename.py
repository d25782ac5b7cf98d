"""A rename that never replaces a file: Linux's renameat2(2) with RENAME_NOREPLACE, which Python lacks."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_HERE = -100  # AT_FDCWD
_NOREPLACE = 1


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename atomically. Raises FileExistsError if `target` exists, another OSError if it is not supported."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if renameat2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))

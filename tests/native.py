"""The steps in C, and a way to turn them off, so that tests can compare them with Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest

from vortex.core.native import IN_C, pure

if IN_C:
    from vortex.core import _native as native
else:
    native = None  # type: ignore[assignment]

installed = pytest.mark.skipif(native is None, reason="the steps in C are not installed")
"""For tests of the C functions. test_native_is_installed_where_it_can_be_built fails where a compiler is there."""

__all__ = ["installed", "native", "without_native"]

USERS = (
    "vortex.core.decode.events",
    "vortex.core.dedup.index",
    "vortex.core.decode.kpl",
    "vortex.core.log.lines",
    "vortex.core.decode.interning",
    "vortex.core.ingest.filter",
    "vortex.adapters.kinesis.get_records",
)


@contextmanager
def without_native() -> Iterator[None]:
    """Only Python does the work."""
    with ExitStack() as stack:
        for module in USERS:
            stack.enter_context(patch(f"{module}.steps", pure))
        yield

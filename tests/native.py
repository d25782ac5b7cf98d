"""The steps in C switched off, so that tests can compare them with what stands in for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

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
    """Python alone does the work."""
    with ExitStack() as stack:
        for module in USERS:
            stack.enter_context(patch(f"{module}.native", None))
        yield

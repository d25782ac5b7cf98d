"""A stream under a clock that the test advances."""

from __future__ import annotations

import pytest

from simulation.memstream import MemoryStream
from tests.unit.simulation.memstreams import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stream(clock: ManualClock) -> MemoryStream:
    return MemoryStream(clock)

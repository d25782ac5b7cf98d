"""Fixtures for tests of ingestion."""

from __future__ import annotations

import pytest

from vortex.core.decode import event_pages


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few events many slices."""
    monkeypatch.setattr(event_pages, "_ROWS", 500)
